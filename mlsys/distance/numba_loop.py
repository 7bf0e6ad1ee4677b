"""A metric's sums in one pass over the elements: its `element` function in a loop that Numba compiles.

NumPy takes one pass over a block for every operation, and even in the cache these passes cost. The compiled loop adds
up in float64 and works without the interpreter's lock. float64 costs little where the memory is the limit, holds any
float32's square, and makes the time independent of the data: nothing is ever summed a second time.

The loop takes addresses, because getting at an array costs as much as the sums of a thousand elements. Its machine code
is kept on disk, beside this file or in the user's cache, so that a process waits for Numba's
import alone.
"""

from __future__ import annotations

import contextlib
import inspect
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mlsys.distance.metrics import Array, Metric

WIDTH = 8192  # elements a row
MAY = {"reassoc", "contract", "nsz"}  # how the compiler may use vector registers; nan and inf stay right


@dataclass(frozen=True)
class Loop:
    """A compiled loop.

    `at(x, y, n, out, stride)` writes the sums of each row of WIDTH of the n elements at the addresses x and y; sum i of
    row j becomes number i · stride + j of the float64 numbers at out.
    """

    at: Callable[[int, int, int, int, int], None]

    def __call__(self, x: Array, y: Array, out: Array) -> None:
        """The same for arrays: x and y 1-D and contiguous, out (sums, rows) with contiguous rows."""
        self.at(x.ctypes.data, y.ctypes.data, len(x), out.ctypes.data, out.strides[0] // out.itemsize)


# `pairs(…)(x, y, rows, n, x_stride, y_stride, out, stride)` writes the sums of `rows` pairs of rows of n contiguous
# elements; they begin at the addresses x and y and lie x_stride and y_stride elements apart. Sum i of row j becomes
# number i · stride + j of the float64 numbers at out.
Pairs = Callable[[int, int, int, int, int, int, int, int], None]


def loop(metric: Metric, dtype: type) -> Loop | None:
    """The loop of `metric` over elements of `dtype`; None where that cannot be compiled.

    The order of a row's additions depends on its width alone.
    """
    if metric.element is None or _numba() is None:
        return None
    return Loop(_compiled(metric.element, metric.sums, dtype))


def pairs(metric: Metric, dtype: type) -> Pairs | None:
    """The loop over pairs of rows of `dtype`; None where that cannot be compiled."""
    if metric.element is None or _numba() is None:
        return None
    compiled: Pairs = _compiled(metric.element, metric.sums, dtype, "pairs")
    return compiled


@lru_cache
def _numba() -> Any:
    """Numba's `njit`, `register_jitable` and the loops; None where Numba is not there, or not for this NumPy."""
    try:
        from numba import njit
        from numba.extending import register_jitable

        from mlsys.distance.numba_rows import rows
        from mlsys.distance.rows.loop import pairs
    except ImportError:
        return None
    return njit, register_jitable, {"rows": (rows, (WIDTH,), 5), "pairs": (pairs, (), 8)}


@lru_cache
def _compiled(element: Any, sums: int, dtype: type, kind: str = "rows") -> Any:
    njit, register_jitable, loops = _numba()
    register_jitable(element)
    make, more, arguments = loops[kind]
    function = make(element, sums, dtype, *more)
    signature = f"void({', '.join(['intp'] * arguments)})"
    version = _version(element)
    if version is not None:
        # the name of the file in the cache: one for each loop, so that processes that compile at a time cannot mix
        # them up, and for each state of the metric's module
        function.__qualname__ = (
            f"{element.__module__}.{element.__qualname__}.{np.dtype(dtype).name}.{version:08x}"
        )
        with contextlib.suppress(Exception):  # whatever is wrong with the cache: it is only a cache
            return njit(signature, nogil=True, fastmath=MAY, cache=True)(function)
    return njit(signature, nogil=True, fastmath=MAY)(function)


def _version(element: Any) -> int | None:
    """A checksum of the file that states the metric; None where there is no file."""
    try:
        return zlib.crc32(Path(inspect.getsourcefile(element) or "").read_bytes())
    except (OSError, TypeError):
        return None
