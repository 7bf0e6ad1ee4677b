"""reduction=blocked: the CPU's reduction, in blocks that stay in a core's cache, on all cores.

The vectors are cut into rows of fixed width. NumPy sums each row in the elements' precision (float32 for narrower
types), a row's sum is float64, and the rows' sums are added at the end in one fixed order. So the error does not grow
with n, and the result depends neither on the number of threads nor on how the elements arrived.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from mlsys.distance.metrics import Array, Metric, for_dtype
from mlsys.distance.reductions import Running, Shape
from mlsys.errors import UserError

WIDTH = 8192  # elements a row: short enough for float32 sums, and for OpenBLAS to stay in the calling thread
ROWS = 16  # rows a block: two float32 blocks and their difference fit the second-level cache
BLOCK = WIDTH * ROWS
FLOAT32_SAFE = (1e-25, 3e38)  # beyond, a float32 sum may have lost terms or overflowed: the row is summed in float64


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
        blocks = range(0, len(x), BLOCK)
        if self.shape.wide:
            spread(lambda start, scratch: self._block(x, y, out, start, scratch), blocks, np.float64)
            return
        spread(lambda start, scratch: self._block(x, y, out, start, scratch), blocks, np.float32)
        low, high = FLOAT32_SAFE
        size = np.abs(out)
        unsafe = np.flatnonzero(~((size >= low) & (size < high)).all(axis=0))
        again = [int(row) * WIDTH for row in unsafe]
        spread(lambda start, scratch: self._row(x, y, out, start, scratch), again, np.float64)

    def finish(self) -> torch.Tensor:
        """The distance, 0-d."""
        distance = self.metric.distance(self.sums().tolist())
        return torch.tensor(distance, dtype=torch.float64).to(self.shape.result_dtype)

    def sums(self) -> torch.Tensor:
        """The rows' sums, added in order."""
        with np.errstate(all="ignore"):
            return torch.from_numpy(self.partials.sum(axis=1))

    def _block(self, x: torch.Tensor, y: torch.Tensor, out: Array, start: int, scratch: Array) -> None:
        stop = min(start + BLOCK, len(x))
        whole = start + (stop - start) // WIDTH * WIDTH
        a, b = elements(x, start, stop, scratch[1]), elements(y, start, stop, scratch[2])
        for begin, end, width in ((start, whole, WIDTH), (whole, stop, stop - whole)):
            if end > begin:
                shape = ((end - begin) // width, width)
                part = out[:, begin // WIDTH : begin // WIDTH + shape[0]]
                p, q = (v[begin - start : end - start].reshape(shape) for v in (a, b))
                self.metric.rows(p, q, scratch[0, : end - begin].reshape(shape), part)

    def _row(self, x: torch.Tensor, y: torch.Tensor, out: Array, start: int, scratch: Array) -> None:
        stop = min(start + WIDTH, len(x))
        for tensor, wide in ((x, scratch[1]), (y, scratch[2])):
            torch.from_numpy(wide[: stop - start]).copy_(tensor[start:stop])
        a, b, c = (wide[None, : stop - start] for wide in (scratch[1], scratch[2], scratch[0]))
        self.metric.rows(a, b, c, out[:, start // WIDTH : start // WIDTH + 1])


def elements(tensor: torch.Tensor, start: int, stop: int, scratch: Array) -> Array:
    """Elements start … stop as an array of scratch's dtype: a view where that is possible, else a copy in scratch."""
    if tensor.dtype in (torch.float32, torch.float64):
        array: Array = tensor.numpy()[start:stop]
        return array
    torch.from_numpy(scratch[: stop - start]).copy_(tensor[start:stop])
    return scratch[: stop - start]


def spread(work: Callable[[int, Array], None], starts: Iterable[int], dtype: type) -> None:
    """Call `work(start, scratch)` for every start on all threads; scratch is (3, BLOCK) and the thread's own."""
    jobs = list(starts)
    workers = min(worker_count(), len(jobs))
    if workers <= 1:
        with np.errstate(all="ignore"):
            scratch = np.empty((3, BLOCK), dtype)
            for start in jobs:
                work(start, scratch)
        return
    waiting = iter(jobs)

    def drain(_: int) -> None:
        scratch = _scratch(dtype)
        with np.errstate(all="ignore"):
            for start in waiting:
                work(start, scratch)

    list(pool(worker_count()).map(drain, range(workers)))


def worker_count() -> int:
    """One thread more than torch's: while one waits for the interpreter, another computes."""
    threads = torch.get_num_threads()
    return threads + 1 if threads > 1 else 1


@lru_cache(maxsize=2)
def pool(workers: int) -> ThreadPoolExecutor:
    """Threads whose own torch calls stay in the thread."""
    before = torch.get_num_threads()
    ready = threading.Barrier(workers)

    def begin(_: int) -> None:
        torch.set_num_threads(1)
        ready.wait()

    executor = ThreadPoolExecutor(workers, thread_name_prefix="mlsys-blocked")
    list(executor.map(begin, range(workers)))
    torch.set_num_threads(before)  # set_num_threads also sets what later threads begin with
    return executor


_own = threading.local()


def _scratch(dtype: type) -> Array:
    buffers: dict[type, Array] = _own.__dict__
    if dtype not in buffers:
        buffers[dtype] = np.empty((3, BLOCK), dtype)
    return buffers[dtype]
