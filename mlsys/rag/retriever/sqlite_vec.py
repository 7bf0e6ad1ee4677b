"""`retriever=sqlite_vec`: exact search inside SQLite, one file, by the extension sqlite-vec.

SQLite comes with apsw: the `sqlite3` of many Pythons is built without extensions. A connection of apsw may be
used from any thread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import UserError
from mlsys.rag.retriever import Found, Rows, scores
from mlsys.rag.retriever.store import chunks, damaged, packed, size_of, wrong_shape
from mlsys.rag.retriever.updatable import UpdatableStore
from mlsys.record import Scalar

MOST = 4096  # the extension's own limit of k
DISTANCES = {"l2": "l2", "sqeuclidean": "l2", "l1": "l1", "cosine": "cosine"}
INSERT = "INSERT INTO passages(id, vector, source) VALUES (?, ?, ?)"
SEARCH = "SELECT id, distance FROM passages WHERE vector MATCH ? AND k = ?"
FILTERED = SEARCH + " AND source IN (SELECT value FROM json_each(?))"
MAPPED_BYTES = 1 << 40


class SqliteVec(UpdatableStore):
    """One table of sqlite-vec. The first update moves the table into memory: the file stays as its digest says."""

    metrics = ("l2", "sqeuclidean", "l1", "cosine")
    modules = ("apsw", "sqlite_vec")
    _database: Any = None
    _shared = True

    def _open(self, rows: Rows, device: str, digest: str) -> None:
        import apsw

        self._path = self.kept(f"{digest}-{self.metric}.sqlite", lambda path: self._build(path, rows))
        self._shared = True
        try:
            database = _connected(str(self._path), apsw.SQLITE_OPEN_READONLY)
            (shape,) = database.execute("SELECT count, dim FROM shape")
        except (apsw.Error, ValueError) as error:
            raise damaged(self._path, error) from error
        if shape != rows.shape:
            raise wrong_shape(self._path, *rows.shape)
        database.execute(f"PRAGMA mmap_size={MAPPED_BYTES}")
        self._database = database

    def _build(self, path: Path, rows: Rows) -> None:
        import apsw

        database = _connected(str(path), apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        database.execute("PRAGMA journal_mode=OFF")  # nobody sees the file before it is whole
        kind = f"float[{rows.shape[1]}] distance_metric={DISTANCES[self.form]}"
        columns = f"id INTEGER PRIMARY KEY, vector {kind}, source TEXT"
        database.execute(f"CREATE VIRTUAL TABLE passages USING vec0({columns})")
        for part in chunks(f"sqlite-vec: storing {len(rows)} vectors", len(rows)):
            self._insert(database, rows[part], range(part.start, part.stop), self.sources[part])
        database.execute("CREATE TABLE shape AS SELECT ? AS count, ? AS dim", rows.shape)
        database.close()

    @staticmethod
    def _insert(database: Any, rows: Rows, ids: Sequence[int], sources: Sequence[str]) -> None:
        vectors = (row.tobytes() for row in np.ascontiguousarray(rows, np.float32))
        with database:
            database.executemany(INSERT, zip(ids, vectors, sources, strict=True))

    def _bytes(self) -> int:
        return size_of(self._path)

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers; -1 where the filter leaves fewer. One query at a time."""
        if self._database is None:
            raise RuntimeError("the retriever is not loaded")
        if k > MOST:
            raise UserError(f"k={k}: retriever=sqlite_vec finds at most {MOST} passages")
        text, more = (FILTERED, (json.dumps(self.chosen),)) if self.filter else (SEARCH, ())
        found = []
        for query in np.ascontiguousarray(queries, np.float32):
            pairs = self._database.execute(text, (query.tobytes(), k, *more)).fetchall()
            values = self._scores([distance for _, distance in pairs])
            found.append([(row, value) for (row, _), value in zip(pairs, values, strict=True)])
        return packed(found, k)

    def _scores(self, distances: Sequence[float | None]) -> list[float]:
        nothing = [1.0 if one is None else one for one in distances]  # the cosine of a vector of length 0
        values = np.array(nothing, np.float32)
        given: list[float] = scores(
            self.metric, values**2 if self.metric == "sqeuclidean" else values
        ).tolist()
        return given

    def _add(self, rows: Rows, ids: NDArray[np.int64], sources: list[str]) -> None:
        self._insert(self._own(), rows, ids.tolist(), sources)

    def _remove(self, ids: NDArray[np.int64]) -> None:
        inside = "FROM passages WHERE id IN (SELECT value FROM json_each(?))"
        self._own().execute(f"DELETE {inside}", (json.dumps(ids.tolist()),))

    def _own(self) -> Any:
        """The database, after the first call a copy in memory: other processes read the file."""
        if self._shared:
            copy = _connected(":memory:")
            with copy.backup("main", self._database, "main") as backup:
                backup.step()
            self._database.close()
            self._database, self._shared = copy, False
        return self._database

    def describe(self) -> dict[str, Scalar]:
        """Metric and versions."""
        import sqlite_vec

        return self.described(updates=True, version=sqlite_vec.__version__)


def _connected(path: str, *flags: Any) -> Any:
    import apsw
    import sqlite_vec

    database = apsw.Connection(path, *flags)
    database.enable_load_extension(True)
    database.load_extension(sqlite_vec.loadable_path())
    database.enable_load_extension(False)
    return database
