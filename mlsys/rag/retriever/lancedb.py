"""`retriever=lancedb`: a table of LanceDB in a folder; `index=ivf_pq` looks into some partitions of compressed vectors.

Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search" (2011). Knobs have LanceDB's names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from mlsys import progress
from mlsys.errors import UserError
from mlsys.rag.retriever import Found, Rows, scores
from mlsys.rag.retriever.store import (
    Common,
    check_among,
    check_from,
    chunks,
    damaged,
    packed,
    size_of,
    wrong_shape,
)
from mlsys.rag.retriever.updatable import UpdatableStore
from mlsys.record import Scalar

KINDS = ("flat", "ivf_pq")
FEWEST = 256  # vectors that product quantization is trained with, the library's own limit
DISTANCES = {"l2": "l2", "sqeuclidean": "l2", "cosine": "cosine", "dot": "dot"}
TABLE = "passages"


class LanceDB(UpdatableStore):
    """`nprobes`: partitions that are looked into; `refine_factor`: candidates compared by their whole vectors."""

    metrics = ("l2", "sqeuclidean", "cosine", "dot")
    modules = ("lancedb", "pyarrow")
    _table: Any = None
    _shared = True

    def __init__(
        self,
        index: str,
        num_partitions: int | None,
        num_sub_vectors: int | None,
        nprobes: int,
        refine_factor: int | None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        check_among("index", index, KINDS)
        for knob, value in (
            ("num_partitions", num_partitions),
            ("num_sub_vectors", num_sub_vectors),
            ("nprobes", nprobes),
            ("refine_factor", refine_factor),
        ):
            check_from(knob, 1 if value is None else value, 1)
        self.kind, self.nprobes, self.refine_factor = index, nprobes, refine_factor
        self._partitions, self._sub_vectors = num_partitions, num_sub_vectors

    def _open(self, rows: Rows, device: str, digest: str) -> None:
        name = f"{digest}-{self.metric}-{self.kind}"
        if self.kind == "ivf_pq":
            self._check(*rows.shape)
            name += f"-{self._partitions}-{self._sub_vectors}"
        self._path = self.kept(f"{name}.lance", lambda path: self._build(path, rows))
        try:
            self._table = _opened(self._path)
            shape = self._table.count_rows(), self._table.schema.field("vector").type.list_size
        except Exception as error:  # of a damaged folder the library raises what it likes
            raise damaged(self._path, error) from error
        if shape != rows.shape:
            raise wrong_shape(self._path, *rows.shape)

    def _check(self, count: int, dim: int) -> None:
        """Fix the numbers that were left open. Raises UserError where the passages are too few or do not divide."""
        if count < FEWEST:
            raise UserError(f"retriever.index=ivf_pq needs {FEWEST} passages, there are {count}: take flat")
        self._partitions = self._partitions or max(1, min(math.isqrt(count), count // FEWEST))
        self._sub_vectors = self._sub_vectors or max(1, dim // 8)
        if dim % self._sub_vectors:
            raise UserError(
                f"retriever.num_sub_vectors={self._sub_vectors} must divide the vectors' {dim} numbers"
            )

    def _build(self, path: Path, rows: Rows) -> None:
        import lancedb

        database, table = lancedb.connect(str(path)), None
        for part in chunks(f"lancedb: storing {len(rows)} vectors", len(rows), 100_000):
            given = _arrow(rows[part], range(part.start, part.stop), self.sources[part])
            table = database.create_table(TABLE, given) if table is None else (table.add(given), table)[1]
        if self.kind == "ivf_pq" and table is not None:
            from lancedb.index import IvfPq

            with progress.step(f"lancedb: training IVF-PQ on {len(rows)} vectors"):
                table.create_index(
                    "vector",
                    config=IvfPq(
                        distance_type=DISTANCES[self.metric],
                        num_partitions=self._partitions,
                        num_sub_vectors=self._sub_vectors,
                    ),
                )

    def _bytes(self) -> int:
        return size_of(self._path)

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers; -1 where no more were found. One query at a time."""
        if self._table is None:
            raise RuntimeError("the retriever is not loaded")
        found = []
        for query in np.ascontiguousarray(queries, np.float32):
            asked = self._table.search(query).distance_type(DISTANCES[self.metric]).limit(k)
            if self.kind == "flat":
                asked = asked.bypass_vector_index()
            else:
                asked = asked.nprobes(self.nprobes)
                asked = asked.refine_factor(self.refine_factor) if self.refine_factor else asked
            if self.filter:
                asked = asked.where(f"source IN ({', '.join(map(_quoted, self.chosen))})", prefilter=True)
            answer = asked.select(["id", "_distance"]).to_arrow()
            values = self._scores(answer["_distance"].to_numpy())
            found.append(list(zip(answer["id"].to_pylist(), values.tolist(), strict=True)))
        return packed(found, k)

    def _scores(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.form == "dot":
            return 1 - distances
        if self.metric == "l2":
            distances = np.sqrt(np.maximum(distances, 0))  # the library returns squares
        return scores(self.metric, np.nan_to_num(distances, nan=1.0))  # the cosine of a vector of length 0

    def _add(self, rows: Rows, ids: NDArray[np.int64], sources: list[str]) -> None:
        self._changing().add(_arrow(rows, ids, sources))

    def _remove(self, ids: NDArray[np.int64]) -> None:
        self._changing().delete(f"id IN ({', '.join(map(str, ids.tolist()))})")

    def _changing(self) -> Any:
        """The table, after the first call a copy of its folder: other processes read the first."""
        if self._shared:
            self._table, self._shared = _opened(self.own_copy(self._path)), False
        return self._table

    def describe(self) -> dict[str, Scalar]:
        """Metric and how the index was built and is searched."""
        knobs: dict[str, Scalar] = {}
        if self.kind == "ivf_pq":
            knobs = {"num_partitions": self._partitions, "num_sub_vectors": self._sub_vectors}
            knobs |= {"nprobes": self.nprobes, "refine_factor": self.refine_factor}
        return self.described(index=self.kind, updates=True, **knobs)


def _opened(path: Path) -> Any:
    import lancedb

    return lancedb.connect(str(path)).open_table(TABLE)


def _arrow(rows: Rows, ids: Sequence[int] | NDArray[np.int64], sources: Sequence[str]) -> Any:
    import pyarrow as pa

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).ravel()), rows.shape[1])
    columns = {"id": pa.array(ids, pa.int64()), "vector": vectors, "source": pa.array(sources, pa.string())}
    return pa.table(columns)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
