"""What the stores share: their metrics and filter, an index kept on disk by its digest, and what all that costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, TypedDict, Unpack

import numpy as np
import psutil
from numpy.typing import NDArray

from mlsys import extras, progress
from mlsys.distance import metrics
from mlsys.errors import UserError, cause
from mlsys.files import assembling
from mlsys.rag import cache
from mlsys.rag.corpus import Passage
from mlsys.rag.retriever import Found, Rows, check_metric
from mlsys.rag.retriever.filter import Filter
from mlsys.record import Scalar

CHUNK = 10_000  # rows handed to a library at a time, so that progress can be shown


class Common(TypedDict):
    """The knobs of every store."""

    name: str
    metric: str
    filter: dict[str, Any] | None


class Store:
    """A retriever as far as it does not depend on the library. A subclass has `_open` and `search`.

    `metrics`: those that it has; `modules`: what it needs to be installed. `cost`: after `load`, see there.
    """

    metrics: ClassVar[tuple[str, ...]] = ("l2", "sqeuclidean", "l1", "cosine", "dot")
    modules: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **common: Unpack[Common]) -> None:
        self.name, self.metric = common["name"], check_metric(common["metric"])
        self.form = str(metrics.get(self.metric).search)
        if self.form not in self.metrics:
            raise UserError(f"retriever.metric={self.metric}: {self.name} has {', '.join(self.metrics)}")
        self._needed: tuple[str, ...] = ()
        self.needs(*self.modules)
        self.filter = Filter(common["filter"])
        self.sources: list[str] = []  # of each row, as read
        self.chosen: list[str] = []  # the sources that the filter leaves, where there is one
        self.cost: dict[str, Scalar] = {}
        self._build_s: float | None = None

    def needs(self, *modules: str) -> None:
        """Raise UserError where one of them is not installed; `load` imports them."""
        for module in modules:
            if line := extras.absent(module):
                raise UserError(f"retriever={self.name}: {line}")
        self._needed = (*self._needed, *modules)

    def read(self, passages: Sequence[Passage]) -> None:
        """Take the sources of the passages."""
        self.sources = [passage.source for passage in passages]

    def load(self, rows: Rows, device: str, digest: str) -> None:
        """Open the index of rows (N, dim) float32, built now or by an earlier run for the same `digest`.

        Then `cost` has `bytes` (the index on disk, or the arrays in memory), `memory_bytes` (by how much the
        process's resident memory grew meanwhile: mapped files count, and so does what building left behind) and
        `build_s` (None: an earlier run had built it).
        """
        if not self.sources:
            self.sources = [""] * len(rows)
        self.chosen = self.filter.chosen(self.sources) if self.filter else []
        for module in self._needed:  # the library's own memory is not the index's
            import_module(module)
        self.count, self.dim = rows.shape
        resident = psutil.Process().memory_info().rss
        self._open(rows, device, digest)
        grown = psutil.Process().memory_info().rss - resident
        self.cost = {"bytes": self._bytes(), "memory_bytes": max(0, grown), "build_s": self._build_s}

    def _open(self, rows: Rows, device: str, digest: str) -> None:
        raise NotImplementedError

    def _bytes(self) -> int | None:
        raise NotImplementedError

    def allowed(self) -> NDArray[np.int64] | None:
        """The row numbers that the filter leaves, ascending; None where there is no filter."""
        if not self.filter:
            return None
        return np.flatnonzero(np.isin(np.array(self.sources, dtype=object), self.chosen)).astype(np.int64)

    def described(self, **knobs: Scalar) -> dict[str, Scalar]:
        """Metric, filter and `knobs`."""
        filtered = {"filter.source": self.filter.describe()} if self.filter else {}
        return {"metric": self.metric, **filtered, **knobs}

    def kept(self, name: str, build: Callable[[Path], None]) -> Path:
        """The file or folder `name` of the cache, which `build` writes where it is missing."""
        path = cache.directory("index") / name
        with cache.locked(path):
            if not path.exists():
                with self.building(), assembling(path) as temporary:
                    build(temporary)
        return path

    @contextmanager
    def building(self) -> Iterator[None]:
        """Measure how long the body takes to build the index."""
        started = time.perf_counter()
        yield
        self._build_s = round(time.perf_counter() - started, 3)


def chunks(text: str, count: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices of `count` rows, with progress."""
    with progress.step(text, count) as step:
        for start in range(0, count, size):
            yield slice(start, min(start + size, count))
            step.advance(min(size, count - start))


def damaged(path: Path, error: Exception | None = None) -> UserError:
    """The one line for what the cache holds and cannot be read."""
    reason = f" ({cause(error)})" if error else ""
    return UserError(f"MLSYS_CACHE: {path} is damaged{reason}: delete it")


def wrong_shape(path: Path, count: int, dim: int) -> UserError:
    """The one line for an index of other rows."""
    return UserError(f"MLSYS_CACHE: {path} does not hold vectors of the shape ({count}, {dim}): delete it")


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    return sum(one.stat().st_size for one in [path, *path.rglob("*")] if one.is_file())


def unit(rows: Rows) -> Rows:
    """Rows of euclidean length 1; zeros stay."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.where(norms > 0, norms, np.float32(1)), dtype=np.float32)


def packed(found: Sequence[Sequence[tuple[int, float]]], k: int) -> Found:
    """(row, score) pairs of each question as arrays (Q, k), largest score first; row -1 where there is none."""
    scores = np.full((len(found), k), -np.inf, np.float32)
    rows = np.full((len(found), k), -1, np.int64)
    for i, pairs in enumerate(found):
        best = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:k]
        rows[i, : len(best)] = [row for row, _ in best]
        scores[i, : len(best)] = [score for _, score in best]
    return scores, rows


def cleared(scores: NDArray[np.float32], rows: NDArray[np.int64], keep: NDArray[np.bool_], k: int) -> Found:
    """Of what was found (Q, m) the first k that are to be kept, in order; row -1 where there are no more."""
    missing = ((0, 0), (0, max(0, k - rows.shape[1])))
    scores, rows, keep = np.pad(scores, missing), np.pad(rows, missing), np.pad(keep, missing)
    order = np.argsort(~keep, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(keep, order, 1)
    return (
        np.where(kept, np.take_along_axis(scores, order, 1), np.float32(-np.inf)),
        np.where(kept, np.take_along_axis(rows, order, 1), -1),
    )


def check_from(option: str, value: float, least: float) -> None:
    """Raise UserError where a knob's number is smaller than makes sense."""
    if value < least:
        raise UserError(f"retriever.{option}={value} must be at least {least}")


def check_among(option: str, value: str, there: Sequence[str]) -> None:
    """Raise UserError where a knob's word is not one of those there are."""
    if value not in there:
        raise UserError(f"retriever.{option}={value} is none of {', '.join(there)}")
