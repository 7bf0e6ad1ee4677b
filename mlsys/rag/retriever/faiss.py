"""`retriever=faiss`: the library peer; `index=flat` compares every passage, `hnsw` walks a graph.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable
Small World graphs" (2018). Its recall against `retriever=exact` is in the record.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from mlsys.rag.retriever import Found, Rows, scores
from mlsys.rag.retriever.store import (
    Common,
    Store,
    check_among,
    check_from,
    chunks,
    damaged,
    size_of,
    unit,
    wrong_shape,
)
from mlsys.record import Scalar

KINDS = ("flat", "hnsw")


class Faiss(Store):
    """`hnsw_m`: neighbours of a node; `ef_*`: candidates kept while building and while searching."""

    modules = ("faiss",)
    _index: Any = None
    _selector: Any = None
    _selected = 0

    def __init__(
        self, index: str, hnsw_m: int, ef_construction: int, ef_search: int, **common: Unpack[Common]
    ) -> None:
        super().__init__(**common)
        check_among("index", index, KINDS)
        check_from("hnsw_m", hnsw_m, 2)
        check_from("ef_construction", ef_construction, 1)
        check_from("ef_search", ef_search, 1)
        self.kind = index
        self._hnsw_m, self._ef_construction, self._ef_search = hnsw_m, ef_construction, ef_search

    def _open(self, rows: Rows, device: str, digest: str) -> None:
        import faiss
        import torch

        from mlsys.distance.search.peers.faiss import faiss_metric

        faiss.omp_set_num_threads(torch.get_num_threads())
        rows = self._prepared(rows)
        if self.kind == "flat":
            with self.building():
                self._index = faiss.IndexFlat(rows.shape[1], faiss_metric(self.form))
                self._index.add(rows)
            self._taken = rows.nbytes
        else:
            graph = f"{digest}-{self.metric}-hnsw{self._hnsw_m}-{self._ef_construction}.faiss"
            path = self.kept(graph, lambda path: self._build(path, rows, faiss_metric(self.form)))
            self._index, self._taken = self._read(path, rows.shape), size_of(path)
        permitted = self.allowed()
        if permitted is not None:
            self._selector, self._selected = faiss.IDSelectorBatch(permitted), len(permitted)

    def _build(self, path: Path, rows: Rows, metric: int) -> None:
        import faiss

        built = faiss.IndexHNSWFlat(rows.shape[1], self._hnsw_m, metric)
        built.hnsw.efConstruction = self._ef_construction
        for part in chunks(f"faiss: adding {len(rows)} vectors", len(rows)):
            built.add(rows[part])
        faiss.write_index(built, str(path))

    def _read(self, path: Path, shape: tuple[int, ...]) -> Any:
        import faiss

        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise damaged(path) from error
        if (index.ntotal, index.d) != shape:
            raise wrong_shape(path, *shape)
        return index

    def _bytes(self) -> int:
        return self._taken

    def _prepared(self, rows: Rows) -> Rows:
        return unit(rows) if self.form == "cosine" else np.ascontiguousarray(rows)

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers; -1 where no more were found."""
        if self._index is None:
            raise RuntimeError("the retriever is not loaded")
        found, rows = self._walked(self._prepared(queries), k)
        if self.form == "l2":
            found = np.sqrt(np.maximum(found, 0))  # faiss returns squares
        values = found if self.form == "cosine" else scores(self.metric, found)
        return np.where(rows >= 0, values, np.float32(-np.inf)), rows

    def _walked(self, queries: Rows, k: int) -> Found:
        """What the index finds; where a filter leaves too little on the graph's walk, it is walked further."""
        faiss: Any = import_module("faiss")  # whose stubs do not know of selectors
        if self.kind == "flat":
            flat: Found = self._index.search(queries, k, params=faiss.SearchParameters(sel=self._selector))
            return flat
        ef = max(self._ef_search, k)
        while True:
            how = faiss.SearchParametersHNSW(sel=self._selector, efSearch=ef)
            found: Found = self._index.search(queries, k, params=how)
            if (
                self._selector is None
                or ef >= self.count
                or (found[1][:, : min(k, self._selected)] >= 0).all()
            ):
                return found
            ef *= 4

    def describe(self) -> dict[str, Scalar]:
        """Metric and how the index was built."""
        knobs: dict[str, Scalar] = self.described(index=self.kind, updates=False)
        if self.kind == "hnsw":
            knobs |= {"hnsw_m": self._hnsw_m, "ef_construction": self._ef_construction}
            knobs |= {"ef_search": self._ef_search}
        return knobs
