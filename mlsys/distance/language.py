"""Triton where it is installed: metrics state their terms as Triton functions also on machines without it.

Triton has wheels for Linux only. Elsewhere `jit` leaves a function as it is, which nothing then calls.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

try:
    import triton
    import triton.language as tl
except ImportError:  # not Linux
    triton = None
    tl = None

__all__ = [
    "INTERPRETED", "compiled", "jit", "jit_once", "launched", "side_by_side", "tl", "triton", "why_not",
]  # fmt: skip

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def jit(function: Callable[..., Any]) -> Any:
    """`triton.jit`, or the function itself where there is no Triton."""
    return function if triton is None else triton.jit(function)


def jit_once(*numbers: str) -> Callable[[Callable[..., Any]], Any]:
    """`jit` of a function that is compiled once for all values of `numbers`, not anew for 1 and multiples of 16."""
    return lambda function: (
        function if triton is None else triton.jit(do_not_specialize=list(numbers))(function)
    )


def launched(kernel: Any, grid: tuple[int, ...]) -> Any:
    """What launches a kernel, called with its arguments."""
    return kernel[grid]


def compiled(kernel: Any, grid: tuple[int, ...]) -> Any:
    """What only compiles it for such arguments."""
    return partial(kernel.warmup, grid=grid)


@contextmanager
def side_by_side(threads: int) -> Iterator[None]:
    """What is asked for by `compiled` meanwhile is compiled by so many threads, and is there at the end."""
    with ThreadPoolExecutor(threads) as pool, triton.AsyncCompileMode(pool):
        yield


def why_not(device: str) -> str | None:
    """Why Triton kernels cannot run on `device` ("cuda" or "cpu"); None where they can."""
    if triton is None:
        return "needs Triton, which is not installed"
    if device == "cpu" and not INTERPRETED:
        return "needs a GPU; on device=cpu use reduction=blocked or auto"
    return None
