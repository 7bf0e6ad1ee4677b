"""reduction=blocked: the CPU's reduction, in blocks that stay in a core's cache, on all cores.

The vectors are cut into rows of fixed width. Short pieces of a row are summed in the elements' precision (float32
for narrower types), the pieces' sums in float64, and the rows' sums are added at the end in one fixed order. So the
error does not grow with n, and the result depends neither on the number of threads nor on how the elements arrived.

Long vectors go through a compiled loop that takes one pass (see `mlsys.distance.fused`), others and metrics without an
`element` through NumPy, and short ones at once in float64, where rows and threads would cost more than they save. Which
of these depends only on the metric, the dtype and n.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mlsys.distance import fused
from mlsys.distance.metrics import Array, Metric, for_dtype
from mlsys.distance.reductions import Running, Shape
from mlsys.distance.threads import spread
from mlsys.errors import UserError

WIDTH = 8192  # elements a row, see in_rows
ROWS = 16  # rows a block: two float32 blocks and their difference fit the second-level cache; enough for row_dots
BLOCK = WIDTH * ROWS
ALONE = 16  # blocks that take one thread no longer than other threads take to wake up, half a millisecond
MOST_BLOCKS = 4  # a job
SHORT = 1 << 15  # elements, less than a piece of a stream
COMPILED_FROM = 1 << 19  # elements; below, NumPy is fast enough not to wait a second for the compiler


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
        self._dtype = np.float64 if shape.wide else np.float32
        self._compiled = fused.rows(metric, self._dtype) if shape.n >= COMPILED_FROM else None
        self._sum = self._compiled or metric.rows
        self.loop = "numba" if self._compiled else "numpy"  # what takes the rows, for the record

    def add(self, x: torch.Tensor, y: torch.Tensor, first: int) -> None:
        """Sum the rows of one piece, which begins at a multiple of `align`."""
        if self.shape.n <= SHORT:
            with np.errstate(all="ignore"):
                self._short(x, y)
            return
        row = first // WIDTH
        out = self.partials[:, row : row + -(-x.numel() // WIDTH)]
        at = 0
        for p, q in zip(in_rows(as_stored(x)), in_rows(as_stored(y)), strict=True):
            self._rows(p, q, out[:, at : at + len(p)])
            at += len(p)

    def _short(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Sum the rows of short vectors in float64, in this thread."""
        at, own = 0, scratch(np.float64)[0]  # BLAS adds in an order that depends on where its vector begins
        for p, q in zip(in_rows(x.double().numpy()), in_rows(y.double().numpy()), strict=True):
            self.metric.rows(p, q, own[: len(p), : p.shape[1]], self.partials[:, at : at + len(p)])
            at += len(p)

    def _rows(self, x: Any, y: Any, out: Array) -> None:
        """Sum rows, (rows, width): all of them as they are, and in float64 those that float32 does not serve."""
        step = self._step(x, y)
        jobs, here = range(0, len(x), step), isinstance(x, np.ndarray)
        spread(lambda row: self._block(x, y, out, slice(row, row + step)), jobs, alone=ALONE, here=here)
        if not self.shape.wide:
            with np.errstate(all="ignore"):
                again = np.flatnonzero(~self.metric.exact_enough(out))
            spread(lambda row: self._row(x, y, out, row), again.tolist())

    def _step(self, x: Any, y: Any) -> int:
        """Rows a job: a block; more, for fewer calls, where the compiled loop takes the rows as they are."""
        if self._compiled is None:
            return ROWS
        if not all(isinstance(v, np.ndarray) and v.flags.c_contiguous for v in (x, y)):
            return ROWS
        return ROWS * min(max(1, len(x) // (8 * ROWS * torch.get_num_threads())), MOST_BLOCKS)

    def _block(self, x: Any, y: Any, out: Array, block: slice) -> None:
        c, own_x, own_y = scratch(self._dtype)
        a, b = converted(x[block], own_x), converted(y[block], own_y)
        self._sum(a, b, c[: len(a), : a.shape[1]], out[:, block])

    def _row(self, x: Any, y: Any, out: Array, row: int) -> None:
        one = slice(row, row + 1)
        c, own_x, own_y = scratch(np.float64)
        a, b = converted(torch.as_tensor(x[one]), own_x), converted(torch.as_tensor(y[one]), own_y)
        self.metric.rows(a, b, c[:1, : a.shape[1]], out[:, one])

    def finish(self) -> torch.Tensor:
        """The distance, 0-d."""
        with np.errstate(all="ignore"):
            return self._finished()

    def _finished(self) -> torch.Tensor:
        distance = self.metric.distance(self.partials.sum(axis=1).tolist())
        return torch.from_numpy(np.asarray(distance, self._dtype))

    def once(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The distance of two whole vectors."""
        if self.shape.n > SHORT:
            self.add(x, y, 0)
            return self.finish()
        with np.errstate(all="ignore"):  # once: it takes a microsecond, as much as the sums of 1000 elements
            self._short(x, y)
            return self._finished()

    def sums(self) -> torch.Tensor:
        """The rows' sums, added in order."""
        with np.errstate(all="ignore"):
            return torch.from_numpy(self.partials.sum(axis=1))


def as_stored(vector: torch.Tensor) -> Any:
    """An array over the vector where NumPy computes in its dtype at once, else the vector."""
    return vector.numpy() if vector.dtype in (torch.float32, torch.float64) else vector


def in_rows(vector: Any) -> Iterator[Any]:
    """The whole rows, (rows, WIDTH), then what is left, (1, rest); views, of an array or a tensor.

    Rows this short keep float32 sums exact enough, and OpenBLAS, which splits longer ones over threads of its own,
    in the calling thread.
    """
    n = len(vector)
    whole = n // WIDTH * WIDTH
    if whole:
        yield vector[:whole].reshape(-1, WIDTH)
    if n > whole:
        yield vector[whole:].reshape(1, -1)


def converted(rows: Any, own: Array) -> Array:
    """Rows as a C-contiguous array of own's dtype: themselves if they are one, else a copy in own."""
    target = own[: len(rows), : rows.shape[1]]
    if not isinstance(rows, np.ndarray):
        torch.from_numpy(target).copy_(rows)
    elif rows.flags.c_contiguous:
        return rows
    else:
        np.copyto(target, rows)
    return target


_own = threading.local()


def scratch(dtype: type) -> Array:
    """The calling thread's own (3, ROWS, WIDTH) of `dtype`."""
    name = dtype.__name__
    if not hasattr(_own, name):
        # from torch, whose memory begins at a cache line: stores across two lines take twice as long
        setattr(_own, name, torch.empty((3, ROWS, WIDTH), dtype=getattr(torch, name)).numpy())
    own: Array = getattr(_own, name)
    return own
