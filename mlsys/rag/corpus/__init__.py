"""Where passages and questions with known answers come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from mlsys.record import Scalar

TokenSpans = Callable[[str], list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text to retrieve. `id`: its row in the index; `position`: its place in the source."""

    id: int
    text: str
    source: str
    position: int


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question and the passage that answers it."""

    text: str
    passage_id: int


class Corpus(Protocol):
    """Passages in a fixed order, the same on every machine with the same input."""

    name: str
    passages: list[Passage]
    questions: list[LabelledQuestion]

    def load(self, token_spans: TokenSpans) -> None:
        """Read everything. `token_spans` gives the (start, end) characters of each token of a text."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of the passages: what an index is cached by."""
        ...

    def describe(self) -> dict[str, Scalar]:
        """What the record should say about the corpus."""
        ...


def digest(passages: Iterable[Passage]) -> str:
    """sha256 over ids, sources, positions and texts."""
    running = hashlib.sha256()
    for passage in passages:
        running.update(f"{passage.id}\0{passage.source}\0{passage.position}\0{passage.text}\0".encode())
    return running.hexdigest()
