"""reduction=blocked: the CPU's reduction, in blocks that stay in a core's cache, on all cores.

The vectors are cut into rows of fixed width. NumPy sums each row in the elements' precision (float32 for
narrower types), a row's sum is float64, and the rows' sums are added at the end in one fixed order. So the
error does not grow with n, and the result depends neither on the number of threads nor on how the elements
arrived.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import torch

from mlsys.distance.metrics import Array, Metric, for_dtype, in_rows
from mlsys.distance.reductions import Running, Shape
from mlsys.distance.threads import spread
from mlsys.errors import UserError

WIDTH = 8192  # elements a row, see in_rows
ROWS = 16  # rows a block: two float32 blocks and their difference fit the second-level cache
BLOCK = WIDTH * ROWS


@dataclass(frozen=True)
class Blocked:
    """Cache-sized blocks over the CPU's cores; torch.set_num_threads says how many."""

    name: str = "blocked"

    def start(self, shape: Shape, metric: Metric) -> Running:
        """Prepare. Raises UserError on a GPU."""
        if shape.device.type != "cpu":
            raise UserError(f"reduction=blocked runs on the CPU, not on device={shape.device.type}")
        return BlockedRun(shape, for_dtype(metric, shape.wide))


class BlockedRun:
    """The rows' sums of two vectors on the CPU."""

    name = "blocked"
    align = BLOCK
    slots = 2

    def __init__(self, shape: Shape, metric: Metric) -> None:
        self.shape, self.metric = shape, metric
        self.partials = np.zeros((metric.sums, -(-shape.n // WIDTH)))

    def add(self, x: torch.Tensor, y: torch.Tensor, first: int) -> None:
        """Sum the rows of one piece, which begins at a multiple of `align`."""
        row = first // WIDTH
        out = self.partials[:, row : row + -(-len(x) // WIDTH)]
        spread(lambda start: self._block(x, y, out, start), range(0, len(x), BLOCK))
        if self.shape.wide:
            return
        with np.errstate(all="ignore"):
            again = np.flatnonzero(~self.metric.exact_enough(out))
        spread(lambda row: self._row(x, y, out, row), again.tolist())

    def finish(self) -> torch.Tensor:
        """The distance, 0-d."""
        distance = self.metric.distance(self.sums().tolist())
        return torch.tensor(distance, dtype=torch.float64).to(self.shape.result_dtype)

    def once(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The distance of two whole vectors."""
        self.add(x, y, 0)
        return self.finish()

    def sums(self) -> torch.Tensor:
        """The rows' sums, added in order."""
        with np.errstate(all="ignore"):
            return torch.from_numpy(self.partials.sum(axis=1))

    def _block(self, x: torch.Tensor, y: torch.Tensor, out: Array, start: int) -> None:
        stop = min(start + BLOCK, len(x))
        c, own_x, own_y = scratch(np.float64 if self.shape.wide else np.float32)
        a, b = elements(x, start, stop, own_x), elements(y, start, stop, own_y)
        for row, (p, q, own) in in_rows(WIDTH, a, b, c[: stop - start]):
            at = start // WIDTH + row
            self.metric.rows(p, q, own, out[:, at : at + len(p)])

    def _row(self, x: torch.Tensor, y: torch.Tensor, out: Array, row: int) -> None:
        """A row again, in float64."""
        stretch = slice(row * WIDTH, min((row + 1) * WIDTH, len(x)))
        c, a, b = (own[: stretch.stop - stretch.start] for own in scratch(np.float64))
        torch.from_numpy(a).copy_(x[stretch])
        torch.from_numpy(b).copy_(y[stretch])
        self.metric.rows(a[None], b[None], c[None], out[:, row : row + 1])


def elements(tensor: torch.Tensor, start: int, stop: int, own: Array) -> Array:
    """Elements start … stop as an array of own's dtype: a view where that is possible, else a copy in own."""
    if tensor.dtype in (torch.float32, torch.float64):
        array: Array = tensor.numpy()[start:stop]
        return array
    torch.from_numpy(own[: stop - start]).copy_(tensor[start:stop])
    return own[: stop - start]


_own = threading.local()


def scratch(dtype: type) -> Array:
    """The calling thread's own (3, BLOCK) of `dtype`."""
    name = dtype.__name__
    if not hasattr(_own, name):
        setattr(_own, name, np.empty((3, BLOCK), dtype))
    own: Array = getattr(_own, name)
    return own
