"""`retriever=exact`: every passage is compared, by the project's own search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlsys.rag.retriever import Found, Rows, scores
from mlsys.rag.retriever.store import Store
from mlsys.record import Scalar

if TYPE_CHECKING:
    from mlsys.distance.search import Index


class Exact(Store):
    """Exact top-k over all rows; equal distances go to the lowest row. A filter chooses the rows once."""

    modules = ("mlsys.distance.search",)
    _index: Index | None = None
    _allowed: NDArray[np.int64] | None = None

    def _open(self, rows: Rows, device: str, digest: str) -> None:
        import torch

        from mlsys.distance.isolation import isolation
        from mlsys.distance.search import Index

        self._allowed = self.allowed()
        rows = rows if self._allowed is None else rows[self._allowed]
        self._count, self._taken = len(rows), rows.nbytes
        with isolation():
            self._index = Index(torch.from_numpy(rows).to(device), self.metric)

    def _bytes(self) -> int:
        return self._taken

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers; -1 where the filter leaves fewer."""
        if self._index is None:
            raise RuntimeError("the retriever is not loaded")
        distances, found = self._index.search(queries, min(k, self._count))
        if self._allowed is not None:
            found = self._allowed[found]
        scored = scores(self.metric, distances)
        if found.shape[1] == k:
            return scored, found
        missing = ((0, 0), (0, k - found.shape[1]))
        return (
            np.pad(scored, missing, constant_values=-np.inf),
            np.pad(found, missing, constant_values=-1),
        )

    def describe(self) -> dict[str, Scalar]:
        """The metric."""
        return self.described(updates=False)
