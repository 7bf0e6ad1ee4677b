"""The search that all others are judged by: every distance in float64, every row sorted. Slow on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Matrix = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]


def _l2(query: Matrix, rows: Matrix) -> Matrix:
    distances: Matrix = np.linalg.norm(rows - query, axis=1)
    return distances


def _sqeuclidean(query: Matrix, rows: Matrix) -> Matrix:
    distances: Matrix = np.sum(np.square(rows - query), axis=1)
    return distances


def _l1(query: Matrix, rows: Matrix) -> Matrix:
    distances: Matrix = np.sum(np.abs(rows - query), axis=1)
    return distances


def _dot(query: Matrix, rows: Matrix) -> Matrix:
    distances: Matrix = -(rows * query).sum(1)
    return distances


def _cosine(query: Matrix, rows: Matrix) -> Matrix:
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
    with np.errstate(invalid="ignore", divide="ignore"):
        distances: Matrix = 1 - (rows * query).sum(1) / norms
    return distances


DISTANCES: dict[str, Callable[[Matrix, Matrix], Matrix]] = {
    "l2": _l2,
    "sqeuclidean": _sqeuclidean,
    "l1": _l1,
    "cosine": _cosine,
    "dot": _dot,
}


def reference(queries: Any, rows: Any, k: int, metric: str, block: int = 65536) -> tuple[Matrix, Indices]:
    """Distances (Q, k) float64 and row numbers (Q, k) of the k nearest; ties by the lower row; nan last.

    Args:
        queries, rows: (Q, d) and (N, d), numpy or torch on the CPU, any floating dtype.
        k: from 1 to N.
        metric: a name of `DISTANCES`; dot gives inner products, the largest first.
        block: rows in float64 at once.
    """
    best: list[tuple[Matrix, Indices]] = [(np.empty(0), np.empty(0, np.int64)) for _ in range(len(queries))]
    for start in range(0, len(rows), block):
        part = _double(rows[start : start + block])
        numbers = np.arange(start, start + len(part))
        for line, query in enumerate(_double(queries)):
            keys = np.concatenate([best[line][0], DISTANCES[metric](query, part)])
            index = np.concatenate([best[line][1], numbers])
            order = np.argsort(keys, kind="stable")[:k]
            best[line] = (keys[order], index[order])
    keys, index = np.stack([pair[0] for pair in best]), np.stack([pair[1] for pair in best])
    return (-keys if metric == "dot" else keys), index


def _double(values: Any) -> Matrix:
    return values.double().numpy() if hasattr(values, "double") else np.asarray(values, np.float64)
