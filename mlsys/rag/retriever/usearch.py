"""`retriever=usearch`: `index=hnsw` walks a graph, `exact` compares every passage; vectors of 1, 2 or 4 bytes.

The graph is that of Malkov and Yashunin (2018). Its knobs have usearch's names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import UserError
from mlsys.rag.retriever import Found, Rows, scores
from mlsys.rag.retriever.store import (
    Common,
    check_among,
    check_from,
    chunks,
    cleared,
    damaged,
    size_of,
    unit,
    wrong_shape,
)
from mlsys.rag.retriever.updatable import UpdatableStore
from mlsys.record import Scalar

KINDS = ("hnsw", "exact")
DTYPES = ("f32", "f16", "bf16", "i8")
DISTANCES = {"l2": "l2sq", "sqeuclidean": "l2sq", "cosine": "cos", "dot": "ip"}


class Usearch(UpdatableStore):
    """`connectivity`: neighbours of a node; `expansion_*`: candidates kept while building and while searching."""

    metrics = ("l2", "sqeuclidean", "cosine", "dot")
    modules = ("usearch",)
    _index: Any = None

    def __init__(
        self,
        index: str,
        dtype: str,
        connectivity: int,
        expansion_add: int,
        expansion_search: int,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        check_among("index", index, KINDS)
        check_among("dtype", dtype, DTYPES)
        check_from("connectivity", connectivity, 2)
        check_from("expansion_add", expansion_add, 1)
        check_from("expansion_search", expansion_search, 1)
        if dtype == "i8" and self.form != "cosine":
            raise UserError(f"retriever.dtype=i8 goes with retriever.metric=cosine, not {self.metric}")
        self.kind, self.dtype = index, dtype
        self.knobs = {"connectivity": connectivity, "expansion_add": expansion_add}
        self.expansion_search = expansion_search

    def _open(self, rows: Rows, device: str, digest: str) -> None:
        import torch
        from usearch.index import Index

        self._threads, self._path = torch.get_num_threads(), None
        if self.kind == "exact":  # one level of nodes without neighbours: vectors that are read through
            self._index = self._made(rows.shape[1], connectivity=2, expansion_add=1)
            with self.building():
                self._fill(self._index, rows)
        else:
            name = f"{digest}-{self.metric}-{self.dtype}-{'-'.join(map(str, self.knobs.values()))}.usearch"
            self._path = self.kept(name, lambda path: self._build(path, rows))
            try:
                self._index = Index.restore(str(self._path))
            except (RuntimeError, ValueError) as error:
                raise damaged(self._path, error) from error
            if self._index is None:
                raise damaged(self._path)
            if (len(self._index), self._index.ndim) != rows.shape:
                raise wrong_shape(self._path, *rows.shape)
        self._permitted = self.allowed()

    def _made(self, dim: int, **knobs: int) -> Any:
        from usearch.index import Index

        return Index(ndim=dim, metric=DISTANCES[self.form], dtype=self.dtype, **knobs)

    def _build(self, path: Path, rows: Rows) -> None:
        index = self._made(rows.shape[1], **self.knobs)
        self._fill(index, rows)
        index.save(str(path))

    def _fill(self, index: Any, rows: Rows) -> None:
        for part in chunks(f"usearch: adding {len(rows)} vectors", len(rows)):
            index.add(np.arange(part.start, part.stop), self._given(rows[part]), threads=self._threads)

    def _given(self, rows: Rows) -> Rows:
        return unit(rows) if self.form == "cosine" else np.ascontiguousarray(rows, np.float32)

    def _bytes(self) -> int:
        return int(self._index.memory_usage) if self._path is None else size_of(self._path)

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers; -1 where no more were found.

        usearch has no filter: more and more passages are found until k of them are permitted.
        """
        if self._index is None:
            raise RuntimeError("the retriever is not loaded")
        given, count, wanted = self._given(queries), len(self._index), min(k, len(self._index))
        while True:
            values, found = self._search(given, min(wanted, count))
            keep = found >= 0 if self._permitted is None else np.isin(found, self._permitted)
            if self._permitted is None or wanted >= count or (keep.sum(axis=1) >= k).all():
                break
            wanted *= 4
        return cleared(values, found, keep, k)

    def _search(self, queries: Rows, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        self._index.expansion_search = max(self.expansion_search, k)
        exact = self.kind == "exact"
        matches = self._index.search(queries, k, exact=exact, threads=self._threads)
        distances, keys = matches.distances, matches.keys.astype(np.int64)
        if len(queries) == 1:  # usearch gives no second axis, and no more than there are
            missing = (0, k - len(keys))
            counts = np.array([len(keys)])
            distances, keys = np.pad(distances, missing)[None], np.pad(keys, missing)[None]
        else:
            counts = matches.counts
        there = np.arange(k) < counts[:, None]
        found = np.where(there, distances, np.float32(0))  # the rest is memory that nobody wrote
        values = np.where(there, self._score(found), np.float32(-np.inf))
        keys = np.where(there, keys, -1)
        order = np.lexsort((keys, -values), axis=1)  # equal scores go to the lowest row
        return np.take_along_axis(values, order, 1), np.take_along_axis(keys, order, 1)

    def _score(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.form == "dot":
            return 1 - distances
        if self.metric == "l2":
            distances = np.sqrt(np.maximum(distances, 0))
        return scores(self.metric, distances)

    def _add(self, rows: Rows, ids: NDArray[np.int64], sources: list[str]) -> None:
        self._index.add(ids, self._given(rows), threads=self._threads)
        if self._permitted is not None:
            taken = ids[[self.filter.takes(source) for source in sources]]
            self._permitted = np.union1d(self._permitted, taken)

    def _remove(self, ids: NDArray[np.int64]) -> None:
        self._index.remove(ids)

    def describe(self) -> dict[str, Scalar]:
        """Metric, stored dtype and how the graph was built."""
        graph = {**self.knobs, "expansion_search": self.expansion_search} if self.kind == "hnsw" else {}
        return self.described(index=self.kind, dtype=self.dtype, updates=True, **graph)
