"""The nearest passages of a question."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.distance import metrics
from mlsys.errors import UserError
from mlsys.record import Scalar

Rows = NDArray[np.float32]
Found = tuple[NDArray[np.float32], NDArray[np.int64]]


class Retriever(Protocol):
    """Finds the k nearest rows. `load` takes the rows, once."""

    name: str
    metric: str

    def load(self, rows: Rows, device: str, digest: str) -> None:
        """Take rows (N, dim) float32. `digest` names them for whatever is kept on disk."""
        ...

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers; k is at most N. Ties go to the lowest row."""
        ...

    def describe(self) -> dict[str, Scalar]:
        """What the record should say."""
        ...


def check_metric(metric: str) -> str:
    """The metric, or a `UserError` that lists what there is."""
    there = metrics.searchable()
    if metric not in there:
        raise UserError(f"retriever.metric={metric} is none of {', '.join(there)}")
    return metric


def scores(metric: str, distances: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distances as scores, larger is nearer: the inner product, the cosine similarity, minus the distance."""
    chosen = metrics.get(metric)
    if chosen.larger_is_nearer:
        return distances
    return 1 - distances if chosen.search == "cosine" else -distances
