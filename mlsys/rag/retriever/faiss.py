"""`retriever=faiss`: the library peer; `index=flat` compares every passage, `hnsw` walks a graph.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable
Small World graphs" (2018). Its recall against `retriever=exact` is in the record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlsys.distance import metrics
from mlsys.errors import UserError
from mlsys.files import replacing
from mlsys.rag import cache
from mlsys.rag.retriever import Found, Rows, check_metric, scores
from mlsys.record import Scalar

KINDS = ("flat", "hnsw")


class Faiss:
    """`hnsw_m`: neighbours of a node; `ef_*`: candidates kept while building and while searching."""

    def __init__(
        self,
        name: str,
        metric: str,
        index: str,
        hnsw_m: int,
        ef_construction: int,
        ef_search: int,
    ) -> None:
        if index not in KINDS:
            raise UserError(f"retriever.index={index} is none of {', '.join(KINDS)}")
        for knob, value, least in (("hnsw_m", hnsw_m, 2), ("ef_construction", ef_construction, 1)):
            if value < least:
                raise UserError(f"retriever.{knob}={value} must be at least {least}")
        if ef_search < 1:
            raise UserError(f"retriever.ef_search={ef_search} must be at least 1")
        self.name, self.metric, self.kind = name, check_metric(metric), index
        self._hnsw_m, self._ef_construction, self._ef_search = hnsw_m, ef_construction, ef_search
        self._form = metrics.get(metric).search
        self._index: Any = None

    def load(self, rows: Rows, device: str, digest: str) -> None:
        """Build over rows (N, dim) float32, or read the graph that an earlier run built for `digest`."""
        import faiss
        import torch

        from mlsys.distance.search.peers import faiss_metric

        faiss.omp_set_num_threads(torch.get_num_threads())
        rows = self._prepared(rows)
        if self.kind == "flat":
            self._index = faiss.IndexFlat(rows.shape[1], faiss_metric(self._form))
            self._index.add(rows)
            return
        graph = f"{digest}-{self.metric}-hnsw{self._hnsw_m}-{self._ef_construction}.faiss"
        path = cache.directory("index") / graph
        with cache.locked(path):
            if not path.exists():
                built = faiss.IndexHNSWFlat(rows.shape[1], self._hnsw_m, faiss_metric(self._form))
                built.hnsw.efConstruction = self._ef_construction
                built.add(rows)
                with replacing(path) as temporary:
                    faiss.write_index(built, str(temporary))
            self._index = self._kept(path, rows.shape)
        self._index.hnsw.efSearch = self._ef_search

    def _kept(self, path: Path, shape: tuple[int, ...]) -> Any:
        import faiss

        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise UserError(f"MLSYS_CACHE: {path} is damaged: delete it") from error
        if (index.ntotal, index.d) != shape:
            raise UserError(f"MLSYS_CACHE: {path} does not hold vectors of the shape {shape}: delete it")
        return index

    def _prepared(self, rows: Rows) -> Rows:
        if self._form != "cosine":
            return np.ascontiguousarray(rows)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.ascontiguousarray(rows / np.where(norms > 0, norms, np.float32(1)))

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers; -1 where the graph's walk found no more."""
        if self._index is None:
            raise RuntimeError("the retriever is not loaded")
        if self.kind == "hnsw":
            self._index.hnsw.efSearch = max(self._ef_search, k)
        found, rows = self._index.search(self._prepared(queries), k)
        if self._form == "l2":
            found = np.sqrt(np.maximum(found, 0))  # faiss returns squares
        return (found if self._form == "cosine" else scores(self.metric, found)), rows

    def describe(self) -> dict[str, Scalar]:
        """Metric and how the index was built."""
        knobs: dict[str, Scalar] = {"metric": self.metric, "index": self.kind}
        if self.kind == "hnsw":
            knobs |= {"hnsw_m": self._hnsw_m, "ef_construction": self._ef_construction}
            knobs |= {"ef_search": self._ef_search}
        return knobs
