"""The search that all others are judged by: every distance in float64, every row sorted. Slow on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Found = tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.int64]]]
Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _l2(query: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    distances: torch.Tensor = torch.linalg.vector_norm(rows - query, dim=1)
    return distances


def _sqeuclidean(query: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return (rows - query).square().sum(1)


def _l1(query: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return (rows - query).abs().sum(1)


def _dot(query: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return -(rows * query).sum(1)


def _cosine(query: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(rows, dim=1) * torch.linalg.vector_norm(query)
    return 1 - (rows * query).sum(1) / norms


DISTANCES: dict[str, Distance] = {
    "l2": _l2,
    "sqeuclidean": _sqeuclidean,
    "l1": _l1,
    "cosine": _cosine,
    "dot": _dot,
}


def reference(queries: Any, rows: Any, k: int, metric: str, block: int = 65536) -> Found:
    """Distances (Q, k) float64 and row numbers (Q, k) of the k nearest; ties by the lower row; nan last.

    Args:
        queries, rows: (Q, d) and (N, d), numpy or torch, on one device, any floating dtype.
        k: from 1 to N.
        metric: a name of `DISTANCES`; dot gives inner products, the largest first.
        block: rows in float64 at once.
    """
    wanted = _double(queries)
    keys = [wanted.new_empty(0) for _ in wanted]
    index = [torch.empty(0, dtype=torch.int64, device=wanted.device) for _ in wanted]
    for start in range(0, len(rows), block):
        part = _double(rows[start : start + block])
        numbers = torch.arange(start, start + len(part), device=part.device)
        for line, query in enumerate(wanted):
            key = torch.cat([keys[line], DISTANCES[metric](query, part)])
            key, order = torch.sort(key, stable=True)
            keys[line], index[line] = key[:k], torch.cat([index[line], numbers])[order[:k]]
    distances = -torch.stack(keys) if metric == "dot" else torch.stack(keys)
    return distances.cpu().numpy(), torch.stack(index).cpu().numpy()


def _double(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values)).double() if isinstance(values, np.ndarray) else values.double()
