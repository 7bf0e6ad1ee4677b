"""`retriever=exact`: every passage is compared, by the project's own search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsys.rag.retriever import Found, Rows, check_metric, scores
from mlsys.record import Scalar

if TYPE_CHECKING:
    from mlsys.distance.search import Index


class Exact:
    """Exact top-k over all rows; equal distances go to the lowest row."""

    def __init__(self, name: str, metric: str) -> None:
        self.name, self.metric = name, check_metric(metric)
        self._index: Index | None = None

    def load(self, rows: Rows, device: str, digest: str) -> None:
        """Take rows (N, dim) float32, onto `device`."""
        import torch

        from mlsys.distance.isolation import isolation
        from mlsys.distance.search import Index

        with isolation():
            self._index = Index(torch.from_numpy(rows).to(device), self.metric)

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers."""
        if self._index is None:
            raise RuntimeError("the retriever is not loaded")
        distances, found = self._index.search(queries, k)
        return scores(self.metric, distances), found

    def describe(self) -> dict[str, Scalar]:
        """The metric."""
        return {"metric": self.metric}
