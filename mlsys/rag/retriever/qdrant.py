"""`retriever=qdrant`: Qdrant's engine within this process, or a Qdrant server at `url`. Knobs have Qdrant's names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Unpack

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import UserError
from mlsys.rag.retriever import Found, Rows, scores
from mlsys.rag.retriever.qdrant_server import Server
from mlsys.rag.retriever.qdrant_shard import Shard
from mlsys.rag.retriever.store import Common, check_among, check_from, damaged, packed, size_of, wrong_shape
from mlsys.rag.retriever.updatable import UpdatableStore
from mlsys.record import Scalar

KINDS = ("hnsw", "flat")
DISTANCES = {"l2": "Euclid", "sqeuclidean": "Euclid", "l1": "Manhattan", "cosine": "Cosine", "dot": "Dot"}
Pairs = list[list[tuple[int, float]]]


class Backend(Protocol):
    """Where the points are."""

    def upsert(self, rows: Rows, ids: Sequence[int], sources: Sequence[str]) -> None:
        """Add points."""
        ...

    def delete(self, ids: list[int]) -> None:
        """Forget points."""
        ...

    def query(self, queries: Rows, k: int, ef: int | None, sources: list[str] | None) -> Pairs:
        """(id, Qdrant's score) of each query's nearest; `ef` None compares every point."""
        ...


class Qdrant(UpdatableStore):
    """`m`, `ef_construct`, `hnsw_ef`: neighbours of a node, candidates kept while building and while searching."""

    _backend: Backend | None = None
    _shared = True

    def __init__(
        self,
        index: str,
        m: int,
        ef_construct: int,
        hnsw_ef: int,
        url: str | None,
        api_key: str | None,
        timeout_s: float,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.needs("qdrant_edge" if url is None else "qdrant_client")
        check_among("index", index, KINDS)
        check_from("m", m, 2)
        check_from("ef_construct", ef_construct, 4)
        check_from("hnsw_ef", hnsw_ef, 1)
        if not 0 < timeout_s < math.inf:
            raise UserError(f"retriever.timeout_s={timeout_s} must be more than 0 and finite")
        self.kind, self.hnsw_ef, self.url = index, hnsw_ef, url
        self.graph = {"m": m, "ef_construct": ef_construct} if index == "hnsw" else {}
        self._server = Server(url, api_key, timeout_s) if url is not None else None

    def _open(self, rows: Rows, device: str, digest: str) -> None:
        knobs = "-".join([self.metric, self.kind, *map(str, self.graph.values())])
        distance = DISTANCES[self.metric]
        if self._server is not None:
            with self._server.reached():
                built = self._server.open(f"mlsys-{digest}-{knobs}", rows, self.sources, distance, self.graph)
            self._build_s, self._backend, self._path = built, self._server, None
            return

        def build(path: Path) -> None:
            Shard.build(path, rows, self.sources, distance, self.graph)

        self._path = self.kept(f"{digest}-{knobs}.qdrant", build)
        try:
            self._backend = shard = Shard(self._path)
        except Exception as error:  # the library has no type of its own for this
            raise damaged(self._path, error) from error
        if shard.shape() != rows.shape:
            raise wrong_shape(self._path, *rows.shape)

    def _bytes(self) -> int | None:
        return None if self._path is None else size_of(self._path)  # a server does not tell

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers; -1 where the filter leaves fewer."""
        if self._backend is None:
            raise RuntimeError("the retriever is not loaded")
        ef = max(self.hnsw_ef, k) if self.kind == "hnsw" else None
        found = self._backend.query(queries, k, ef, self.chosen if self.filter else None)
        return packed([[(row, self._score(value)) for row, value in pairs] for pairs in found], k)

    def _score(self, value: float) -> float:
        if self.form in ("cosine", "dot"):
            return value
        distance = np.array(abs(value), np.float32)
        return float(scores(self.metric, distance**2 if self.metric == "sqeuclidean" else distance))

    def _add(self, rows: Rows, ids: NDArray[np.int64], sources: list[str]) -> None:
        self._changing().upsert(rows, ids.tolist(), sources)

    def _remove(self, ids: NDArray[np.int64]) -> None:
        self._changing().delete(ids.tolist())

    def _changing(self) -> Backend:
        """What may be changed: in process a copy of the folder, because other processes read it."""
        if self._backend is None:
            raise RuntimeError("the retriever is not loaded")
        if self._server is not None:
            self._server.unname()
        elif self._shared and self._path is not None:
            self._backend, self._shared = Shard(self.own_copy(self._path)), False
        return self._backend

    def describe(self) -> dict[str, Scalar]:
        """Metric, where it runs, how the graph was built."""
        graph: dict[str, Scalar] = {**self.graph, "hnsw_ef": self.hnsw_ef} if self.kind == "hnsw" else {}
        server: dict[str, Any] = {} if self._server is None else self._server.describe()
        return self.described(index=self.kind, updates=True, **graph, **server)
