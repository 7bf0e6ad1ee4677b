"""reduction=blocked: the CPU's reduction, in blocks that stay in a core's cache, on all cores.

The vectors are cut into rows of fixed width. A row is summed in float64 whatever the elements are, and the rows' sums
are added at the end in one fixed order. So the error does not grow with n, the time does not depend on the data, and
the result depends neither on the number of threads nor on how the elements arrived.

A compiled loop takes one pass over the rows (see `mlsys.distance.numba_loop`). NumPy takes them for metrics without an
`element`, where Numba is missing, and below COMPILED_FROM elements: there NumPy's few calls are as fast as anything
called from Python, and a process that wants one small distance does not wait half a second for Numba. Which of these
depends only on the metric, the dtype and n.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mlsys.distance import numba_loop
from mlsys.distance.metrics import Array, Metric, for_dtype
from mlsys.distance.numba_loop import WIDTH
from mlsys.distance.reductions import Running, Shape
from mlsys.distance.threads import spread
from mlsys.errors import UserError

ROWS = 16  # rows a block: two float32 blocks and their difference fit the second-level cache; enough for row_dots
BLOCK = WIDTH * ROWS
ALONE = 16  # blocks that take one thread no longer than other threads take to wake up, half a millisecond
MOST_BLOCKS = 4  # a job
SHORT = (
    1 << 15
)  # elements that NumPy sums at once in float64, where rows and threads would cost more than they save
COMPILED_FROM = 64  # elements; embeddings have more
FEW = 64  # sums that Python adds up sooner than NumPy
LARGEST = float(np.finfo(np.float32).max)
STORED = (torch.float32, torch.float64)  # what NumPy and the loop take as it is

address: Any = ctypes.addressof
from_buffer: Any = ctypes.c_char.from_buffer


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
        self.partials = np.zeros((metric.sums, max(1, -(-shape.n // WIDTH))))
        self._result = np.float64 if shape.wide else np.float32
        self._loop = numba_loop.loop(metric, self._result) if shape.n >= COMPILED_FROM else None
        self.loop = "numba" if self._loop else "numpy"  # what takes the rows, for the record
        self._dtype = self._result if self._loop else np.float64  # what it takes
        self.at = (
            self._at() if shape.contiguous and shape.dtype in STORED and shape.n <= ALONE * BLOCK else None
        )

    def add(self, x: torch.Tensor, y: torch.Tensor, first: int) -> None:
        """Sum the rows of one piece, which begins at a multiple of `align`."""
        if self._loop is None and self.shape.n <= SHORT:
            self._short(as_stored(x), as_stored(y))
            return
        row = first // WIDTH
        out = self.partials[:, row : row + -(-x.numel() // WIDTH)]
        a, b = as_stored(x), as_stored(y)
        step = self._step(a, b)
        jobs, here = range(0, out.shape[1], step), isinstance(a, np.ndarray)
        spread(lambda row: self._block(a, b, out, slice(row, row + step)), jobs, alone=ALONE, here=here)

    @np.errstate(all="ignore")
    def _short(self, x: Any, y: Any) -> None:
        """Sum the rows of short vectors by NumPy, in this thread."""
        c, own_x, own_y = scratch(np.float64)
        self._numpy(converted(x, own_x), converted(y, own_y), c, self.partials)

    def _step(self, x: Any, y: Any) -> int:
        """Rows a job: a block; more, for fewer calls, where the compiled loop takes the rows as they are."""
        if self._loop is None:
            return ROWS
        if not all(isinstance(v, np.ndarray) and v.flags.c_contiguous for v in (x, y)):
            return ROWS
        return ROWS * min(max(1, len(x) // (8 * BLOCK * torch.get_num_threads())), MOST_BLOCKS)

    def _block(self, x: Any, y: Any, out: Array, rows: slice) -> None:
        """Sum some rows of a piece."""
        c, own_x, own_y = scratch(self._dtype)
        elements = slice(rows.start * WIDTH, rows.stop * WIDTH)
        a, b = converted(x[elements], own_x), converted(y[elements], own_y)
        if self._loop is not None:
            self._loop(a, b, out[:, rows])
        else:
            self._numpy(a, b, c, out[:, rows])

    def _numpy(self, x: Array, y: Array, own: Array, out: Array) -> None:
        at = 0
        for p, q, c in zip(in_rows(x), in_rows(y), in_rows(own[: len(x)]), strict=True):
            self.metric.rows(p, q, c, out[:, at : at + len(p)])
            at += len(p)

    def finish(self) -> torch.Tensor:
        """The distance, 0-d."""
        return torch.from_numpy(self._rounded(self.metric.distance(self._sums())))

    def once(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The distance of two whole vectors."""
        if self.at is not None:
            return torch.from_numpy(self.at(x.data_ptr(), y.data_ptr()))
        self.add(x, y, 0)
        return self.finish()

    def _at(self) -> Callable[[int, int], Array] | None:
        """The distance of the whole vectors at two addresses, 0-d: the least that a call can take. None without a loop.

        It is a closure because looking up attributes would take as long as the sums of a thousand elements.
        """
        if self._loop is None:
            return None
        loop, n, out, stride = self._loop.at, self.shape.n, self.partials.ctypes.data, self.partials.shape[1]
        sums = self._sums if stride > 1 else self.partials[:, 0].tolist
        distance, array, dtype, rounded = self.metric.distance, np.array, self._result, self._rounded

        def at(x: int, y: int) -> Array:
            loop(x, y, n, out, stride)
            value = distance(sums())
            return array(value, dtype) if abs(value) <= LARGEST else rounded(value)

        return at

    def sums(self) -> torch.Tensor:
        """The rows' sums, added in order."""
        return torch.tensor(self._sums(), dtype=torch.float64)

    def _sums(self) -> list[float]:
        if self.partials.shape[1] <= FEW:
            return [sum(row) for row in self.partials.tolist()]
        with np.errstate(all="ignore"):
            sums: list[float] = self.partials.sum(axis=1).tolist()
        return sums

    def _rounded(self, value: float) -> Array:
        if abs(value) > LARGEST:  # NumPy would warn
            with np.errstate(over="ignore"):
                return np.array(value, self._result)
        return np.array(value, self._result)


def as_stored(vector: torch.Tensor) -> Any:
    """An array over the vector where NumPy computes in its dtype at once, else the vector."""
    return vector.numpy() if vector.dtype in STORED else vector


def in_rows(vector: Any) -> Iterator[Any]:
    """The whole rows, (rows, WIDTH), then what is left, (1, rest); views, of an array or a tensor.

    Rows this short keep OpenBLAS, which splits longer ones over threads of its own, in the calling thread.
    """
    n = len(vector)
    whole = n // WIDTH * WIDTH
    if whole:
        yield vector[:whole].reshape(-1, WIDTH)
    if n > whole:
        yield vector[whole:].reshape(1, -1)


def converted(vector: Any, own: Array) -> Array:
    """A stretch of a vector as a contiguous array of own's dtype: itself if it is one, else a copy in own."""
    target = own[: len(vector)]
    if not isinstance(vector, np.ndarray):
        torch.from_numpy(target).copy_(vector)
    elif vector.flags.c_contiguous and vector.dtype == own.dtype:
        return vector
    else:
        np.copyto(target, vector)
    return target


_own = threading.local()


def scratch(dtype: type) -> Array:
    """The calling thread's own (3, BLOCK) of `dtype`."""
    name = dtype.__name__
    if not hasattr(_own, name):
        # from torch, whose memory begins at a cache line: stores across two lines take twice as long
        setattr(_own, name, torch.empty((3, BLOCK), dtype=getattr(torch, name)).numpy())
    own: Array = getattr(_own, name)
    return own
