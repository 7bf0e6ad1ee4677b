"""`retriever=exact`: every passage is compared, by the project's own distances."""

from __future__ import annotations

import numpy as np

from mlsys.rag.retriever import Found, Rows, check_metric


class Exact:
    """Exact top-k over all rows; equal scores go to the lowest row."""

    def __init__(self, name: str = "exact", metric: str = "cosine") -> None:
        self.name, self.metric = name, check_metric(metric)
        self._rows: Rows | None = None

    def load(self, rows: Rows, device: str, digest: str) -> None:
        """Take rows (N, dim) float32."""
        self._rows = rows

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers."""
        if self._rows is None:
            raise RuntimeError("the retriever is not loaded")
        found = _brute_force(queries, self._rows, self.metric)
        order = np.argsort(-found, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(found, order, axis=1), order.astype(np.int64)

    def describe(self) -> dict[str, float | int | str | bool | None]:
        """The metric."""
        return {"metric": self.metric}


def _brute_force(queries: Rows, rows: Rows, metric: str) -> Rows:
    if metric == "l1":
        return np.stack([-np.abs(rows - query).sum(axis=1) for query in queries])
    if metric == "l2":
        return np.stack([-np.linalg.norm(rows - query, axis=1) for query in queries])
    products = queries @ rows.T
    if metric == "cosine":
        products = products / (np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(rows, axis=1)[None])
    return products
