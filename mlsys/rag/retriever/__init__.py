"""The nearest passages of a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mlsys.distance import metrics
from mlsys.errors import UserError
from mlsys.rag.corpus import Passage
from mlsys.record import Scalar

Rows = NDArray[np.float32]
Found = tuple[NDArray[np.float32], NDArray[np.int64]]


class Retriever(Protocol):
    """Finds the k nearest rows. `load` takes the rows, once."""

    name: str
    metric: str

    def load(self, rows: Rows, device: str, digest: str) -> None:
        """Take rows (N, dim) float32. `digest` names them for whatever is kept on disk."""
        ...

    def search(self, queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers; k is at most N. Ties go to the lowest row."""
        ...

    def describe(self) -> dict[str, Scalar]:
        """What the record should say."""
        ...


@runtime_checkable
class Reader(Protocol):
    """A retriever that wants more than vectors: `read` is called before `load`."""

    def read(self, passages: Sequence[Passage]) -> None:
        """Take the passages' texts and sources, in the order of the rows."""
        ...


@runtime_checkable
class ByText(Protocol):
    """A retriever that looks at the questions' words. `needs_vectors`: whether it looks at vectors as well."""

    needs_vectors: bool

    def search_texts(self, texts: Sequence[str], queries: Rows, k: int) -> Found:
        """As `Retriever.search`; `queries` is (Q, dim), or (Q, 0) where no vectors are needed."""
        ...


@runtime_checkable
class Updatable(Protocol):
    """A retriever whose index takes and loses passages without being built anew."""

    def add(self, rows: Rows, ids: Sequence[int], sources: Sequence[str] = ()) -> None:
        """Take rows (M, dim) float32 under the row numbers `ids`. Raises UserError for one that is there."""
        ...

    def remove(self, ids: Sequence[int]) -> None:
        """Forget rows. Raises UserError for one that is not there."""
        ...


def needs_vectors(retriever: Retriever) -> bool:
    """Whether questions must be embedded for this retriever."""
    return not isinstance(retriever, ByText) or retriever.needs_vectors


def find(retriever: Retriever, texts: Sequence[str], queries: Rows, k: int) -> Found:
    """What the retriever finds, by the questions' words or their vectors."""
    if isinstance(retriever, ByText):
        return retriever.search_texts(texts, queries, k)
    return retriever.search(queries, k)


def check_metric(metric: str) -> str:
    """The metric, or a `UserError` that lists what there is."""
    there = metrics.searchable()
    if metric not in there:
        raise UserError(f"retriever.metric={metric} is none of {', '.join(there)}")
    return metric


def scores(metric: str, distances: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distances as scores, larger is nearer: the inner product, the cosine similarity, minus the distance."""
    chosen = metrics.get(metric)
    if chosen.larger_is_nearer:
        return distances
    return 1 - distances if chosen.search == "cosine" else -distances
