"""`retriever=pgvector`: PostgreSQL with the extension pgvector, at `url`. Knobs have pgvector's names.

Table and index are made in one transaction, so that nobody sees half of them. A finished table has the digest as its
comment; one that was changed has another, and the next run builds its own.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Unpack
from urllib.parse import urlsplit
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from mlsys import progress
from mlsys.errors import UserError, cause
from mlsys.rag.retriever import Found, Rows, scores
from mlsys.rag.retriever.store import Common, check_among, check_from, chunks, packed
from mlsys.rag.retriever.updatable import UpdatableStore
from mlsys.record import Scalar

KINDS = ("hnsw", "flat")
OPERATORS = {
    "l2": ("<->", "vector_l2_ops"),
    "sqeuclidean": ("<->", "vector_l2_ops"),
    "l1": ("<+>", "vector_l1_ops"),
    "cosine": ("<=>", "vector_cosine_ops"),
    "dot": ("<#>", "vector_ip_ops"),
}
MARKED = (
    "SELECT oid::regclass::text FROM pg_class WHERE obj_description(oid, 'pg_class') = %s AND relkind = 'r'"
)
MOST_EF = 1000  # the extension's own limit


class PgVector(UpdatableStore):
    """`m`, `ef_construction`, `ef_search`: neighbours of a node, candidates kept while building and searching."""

    modules = ("psycopg", "pgvector")
    _connection: Any = None
    _ef = 0  # as the connection was told last

    def __init__(
        self,
        url: str | None,
        index: str,
        m: int,
        ef_construction: int,
        ef_search: int,
        timeout_s: float,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if not url or not url.startswith(("postgresql://", "postgres://")):
            said = "null" if url is None else url
            raise UserError(f"retriever.url={said} must be an address: postgresql://user@host:5432/database")
        if urlsplit(url).password or "password=" in url:
            raise UserError("retriever.url has a password, which would stay in files: put it into PGPASSWORD")
        check_among("index", index, KINDS)
        check_from("m", m, 2)
        check_from("ef_construction", ef_construction, 2 * m)
        check_from("ef_search", ef_search, 1)
        if not 0 < timeout_s < math.inf:
            raise UserError(f"retriever.timeout_s={timeout_s} must be more than 0 and finite")
        self.url, self.kind, self.ef_search, self.timeout_s = url, index, ef_search, timeout_s
        self.graph = {"m": m, "ef_construction": ef_construction} if index == "hnsw" else {}
        self._operator, self._operators = OPERATORS[self.metric]
        self._changed = False

    def _open(self, rows: Rows, device: str, digest: str) -> None:
        mark = "-".join(["mlsys", digest, self.metric, self.kind, *map(str, self.graph.values())])
        with self._reached():
            database = self._connected()
            there = database.execute(MARKED, (mark,)).fetchone()
            self._table = there[0] if there else f"mlsys_{uuid.uuid4().hex[:16]}"
            if there is None:
                with self.building():
                    self._build(database, rows, mark)
            (count,) = database.execute(f"SELECT count(*) FROM {self._table}").fetchone()
        if count != len(rows):
            raise UserError(
                f"retriever.url={self.url}: {self._table} has {count} rows, not {len(rows)}: drop it"
            )

    def _build(self, database: Any, rows: Rows, mark: str) -> None:
        from psycopg import sql

        with database.transaction():
            database.execute("SET LOCAL statement_timeout = 0")
            kind = f"vector({rows.shape[1]})"
            database.execute(
                f"CREATE TABLE {self._table} (id bigint PRIMARY KEY, vector {kind}, source text)"
            )
            for part in chunks(f"pgvector: storing {len(rows)} vectors", len(rows)):
                self._insert(database, rows[part], range(part.start, part.stop), self.sources[part])
            database.execute(f"CREATE INDEX ON {self._table} (source)")
            if self.kind == "hnsw":
                knobs = f"m = {self.graph['m']}, ef_construction = {self.graph['ef_construction']}"
                with progress.step(f"pgvector: building HNSW over {len(rows)} vectors"):
                    database.execute(
                        f"CREATE INDEX ON {self._table} USING hnsw (vector {self._operators}) WITH ({knobs})"
                    )
            database.execute(f"COMMENT ON TABLE {self._table} IS {sql.Literal(mark).as_string()}")
        database.execute(f"ANALYZE {self._table}")

    def _insert(self, database: Any, rows: Rows, ids: Sequence[int], sources: Sequence[str]) -> None:
        text = f"COPY {self._table} (id, vector, source) FROM STDIN WITH (FORMAT BINARY)"
        with database.cursor() as cursor, cursor.copy(text) as copy:
            copy.set_types(["int8", "vector", "text"])
            for one in zip(ids, np.ascontiguousarray(rows, np.float32), sources, strict=True):
                copy.write_row(one)

    def _bytes(self) -> int:
        text = "SELECT pg_total_relation_size(%s::regclass)"
        return int(self._connected().execute(text, (self._table,)).fetchone()[0])

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers; -1 where no more were found. One query at a time."""
        distance = f"vector {self._operator} %s"
        where = "WHERE source = ANY(%s) " if self.filter else ""
        text = f"SELECT id, {distance} FROM {self._table} {where}ORDER BY {distance} LIMIT %s"
        database, found = self._connected(), []
        self._tune(database, k)
        for query in np.ascontiguousarray(queries, np.float32):
            chosen = (self.chosen,) if self.filter else ()
            pairs = database.execute(text, (query, *chosen, query, k)).fetchall()
            values = self._scores(np.array([distance for _, distance in pairs], np.float32))
            found.append([(row, value) for (row, _), value in zip(pairs, values.tolist(), strict=True)])
        return packed(found, k)

    def _tune(self, database: Any, k: int) -> None:
        """Say how far the graph is walked, once for each k."""
        wanted = min(max(self.ef_search, k), MOST_EF)
        if self.kind == "hnsw" and wanted != self._ef:
            database.execute(f"SET hnsw.ef_search = {wanted}")
            database.execute(
                "SET hnsw.iterative_scan = strict_order"
            )  # on, until a filter has its k passages
            self._ef = wanted

    def _scores(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.form == "dot":
            return -distances  # the operator gives minus the inner product
        distances = np.nan_to_num(distances, nan=1.0)  # the cosine of a vector of length 0
        return scores(self.metric, distances**2 if self.metric == "sqeuclidean" else distances)

    def _add(self, rows: Rows, ids: NDArray[np.int64], sources: list[str]) -> None:
        database = self._connected()
        with database.transaction():
            self._unmark(database)
            self._insert(database, rows, ids.tolist(), sources)

    def _remove(self, ids: NDArray[np.int64]) -> None:
        database = self._connected()
        with database.transaction():
            self._unmark(database)
            database.execute(f"DELETE FROM {self._table} WHERE id = ANY(%s)", (ids.tolist(),))

    def _unmark(self, database: Any) -> None:
        if not self._changed:
            database.execute(f"COMMENT ON TABLE {self._table} IS 'mlsys, changed'")
            self._changed = True

    def _connected(self) -> Any:
        """The connection; a new one where the server has closed the last."""
        import psycopg
        from pgvector.psycopg import register_vector

        if self._connection is None or self._connection.closed:
            limits = f"-c statement_timeout={round(1000 * self.timeout_s)}"
            database = psycopg.connect(
                self.url, autocommit=True, connect_timeout=math.ceil(self.timeout_s), options=limits
            )
            finalize(self, database.close)
            database.execute("CREATE EXTENSION IF NOT EXISTS vector")
            register_vector(database)
            self._connection, self._ef = database, 0
        return self._connection

    @contextmanager
    def _reached(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise UserError(f"retriever.url={self.url}: {cause(error)}") from error

    def describe(self) -> dict[str, Scalar]:
        """Metric, server and how the graph was built."""
        database = self._connected()
        (version,) = database.execute(
            "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
        ).fetchone()
        (server,) = database.execute("SHOW server_version").fetchone()
        graph: dict[str, Scalar] = {**self.graph, "ef_search": self.ef_search} if self.graph else {}
        versions: dict[str, Scalar] = {"version": version, "server_version": server}
        return self.described(url=self.url, index=self.kind, updates=True, **graph, **versions)
