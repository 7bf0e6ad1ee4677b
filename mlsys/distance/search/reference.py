"""The search that all others are judged by: every row, by the metric's definition in float64. Slow on purpose."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from mlsys.distance import metrics
from mlsys.distance.definition import define
from mlsys.distance.metrics import Metric

Found = tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.int64]]]
WORDS = {"sum": partial(torch.sum, dim=-1), "abs": torch.abs, "sqrt": torch.sqrt}


def reference(queries: Any, rows: Any, k: int, metric: str | Metric, block: int = 65536) -> Found:
    """Distances (Q, k) float64 and row numbers (Q, k) of the k nearest; ties by the lower row; nan last.

    Args:
        queries, rows: (Q, d) and (N, d), numpy or torch, on one device, any floating dtype.
        k: from 1 to N.
        metric: one that states a definition; where the larger is the nearer, the largest come first.
        block: rows in float64 at once.
    """
    chosen = metrics.get(metric)
    definition, sign = define(chosen.stated()), -1 if chosen.larger_is_nearer else 1
    wanted = _double(queries)
    keys = [wanted.new_empty(0) for _ in wanted]
    index = [torch.empty(0, dtype=torch.int64, device=wanted.device) for _ in wanted]
    for start in range(0, len(rows), block):
        part = _double(rows[start : start + block])
        numbers = torch.arange(start, start + len(part), device=part.device)
        for line, query in enumerate(wanted):
            key = torch.cat([keys[line], sign * definition.lines(query, part, **WORDS)])
            key, order = torch.sort(key, stable=True)
            keys[line], index[line] = key[:k], torch.cat([index[line], numbers])[order[:k]]
    distances = sign * torch.stack(keys)
    return distances.cpu().numpy(), torch.stack(index).cpu().numpy()


def recall(found: Any, wanted: Any) -> float:
    """The share of the wanted row numbers (Q, k) that are among the found, line by line."""
    pairs = zip(found, wanted, strict=True)
    return sum(len(np.intersect1d(a, b)) for a, b in pairs) / int(wanted.size)


def _double(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values)).double() if isinstance(values, np.ndarray) else values.double()
