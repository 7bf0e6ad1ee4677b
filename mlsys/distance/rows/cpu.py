"""Sums of many pairs of rows on a CPU, in blocks over its cores: one compiled pass over what memory holds.

A row is summed in float64 whatever the elements are. Elements that NumPy does not compute with, and strides other than
one within a row, are copied block by block into the thread's own room.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mlsys.distance import numba_loop
from mlsys.distance.metrics import Array, Metric, for_dtype
from mlsys.distance.reductions.blocked import STORED
from mlsys.distance.threads import spread

BLOCK = 1 << 17  # elements a job: long enough for a thread to wake up for
COPIED = 1 << 15  # elements a job where rows are copied first: they stay in the second-level cache
ALONE = 4  # blocks that take one thread no longer than others take to wake up


def distances(x: torch.Tensor, y: torch.Tensor, metric: Metric, out: torch.Tensor) -> None:
    """The distance of each row of x and y (B, n), of any strides, into out (B,) of float32 or float64."""
    with np.errstate(all="ignore"):
        wide = x.dtype == torch.float64
        metric = for_dtype(metric, wide)
        out.numpy()[:] = metric.distances(_sums(x, y, metric, np.float64 if wide else np.float32))


def _sums(x: torch.Tensor, y: torch.Tensor, metric: Metric, dtype: type) -> Array:
    """The metric's sums of each row, (sums, B) float64."""
    count, n = x.shape
    sums = np.zeros((metric.sums, count))
    if not sums.size or n == 0:
        return sums
    compiled = numba_loop.pairs(metric, dtype)
    direct = compiled is not None and all(readable(rows) for rows in (x, y))
    step = max(1, (BLOCK if direct else COPIED) // n)
    stored = dtype if compiled is not None else np.float64

    def work(first: int) -> None:
        some = slice(first, min(first + step, count))
        a, b = (rows[some] if direct else _copied(rows[some], stored) for rows in (x, y))
        out = sums[:, some]
        if compiled is None:
            left, right = (rows.expand(len(out[0]), n).numpy() for rows in (a, b))
            metric.rows(left, right, np.empty_like(left), out)
            return
        places = a.data_ptr(), b.data_ptr(), out.shape[1], n, _stride(a), _stride(b)
        compiled(*places, out.ctypes.data, count)

    spread(work, range(0, count, step), alone=ALONE, here=direct)
    return sums


def readable(rows: torch.Tensor) -> bool:
    """Whether the compiled loop reads these rows where they are."""
    return rows.dtype in STORED and (rows.stride(1) == 1 or rows.shape[1] == 1)


def _copied(rows: torch.Tensor, dtype: Any) -> torch.Tensor:
    """A block of rows, contiguous, in `dtype`; a row that stands for all of them is copied once."""
    one = rows[:1] if rows.stride(0) == 0 else rows
    target = torch.empty(one.shape, dtype=getattr(torch, dtype.__name__), device="cpu")
    return target.copy_(one)


def _stride(rows: torch.Tensor) -> int:
    return rows.stride(0) if len(rows) > 1 else 0
