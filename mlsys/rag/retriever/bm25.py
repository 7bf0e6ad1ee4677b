"""`retriever=bm25`: the passages' words, weighed by Okapi BM25 and its variants, by the library bm25s.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009); the variants as in Kamphuis
et al. (2020). Recall against an exact search of vectors says how far the two agree, not how good either is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from mlsys import progress
from mlsys.errors import UserError
from mlsys.rag.corpus import Passage
from mlsys.rag.retriever import Found, Rows
from mlsys.rag.retriever.store import Common, Store, check_among, check_from, damaged, packed, size_of
from mlsys.record import Scalar

METHODS = ("lucene", "robertson", "atire", "bm25l", "bm25+")


class BM25(Store):
    """`k1`: how soon repetition stops to count; `b`: how much long passages are marked down."""

    needs_vectors = False
    modules = ("bm25s",)
    _index: Any = None

    def __init__(
        self, method: str, k1: float, b: float, stopwords: str | None, **common: Unpack[Common]
    ) -> None:
        super().__init__(**common)
        check_among("method", method, METHODS)
        check_from("k1", k1, 0)
        if not 0 <= b <= 1:
            raise UserError(f"retriever.b={b} must be from 0 to 1")
        self.method, self.k1, self.b, self.stopwords = method, k1, b, stopwords
        self._texts: list[str] = []

    def read(self, passages: Sequence[Passage]) -> None:
        """Take texts and sources."""
        super().read(passages)
        self._texts = [passage.text for passage in passages]

    def _open(self, rows: Rows, device: str, digest: str) -> None:
        import bm25s

        self._tokens([""])  # stop words that are not there are refused before anything is built
        name = f"{digest}-{self.method}-{self.k1:g}-{self.b:g}-{self.stopwords}.bm25"
        self._path = self.kept(name, self._build)
        try:
            self._index = bm25s.BM25.load(self._path, allow_pickle=False, show_progress=False)
            count = int(self._index.scores["num_docs"])
        except Exception as error:  # of a damaged folder the library raises what it likes
            raise damaged(self._path, error) from error
        if count != len(self._texts):
            raise UserError(f"MLSYS_CACHE: {self._path} does not hold {len(self._texts)} passages: delete it")
        permitted = self.allowed()
        self._mask = None
        if permitted is not None:
            self._mask = np.zeros(count, np.float32)
            self._mask[permitted] = 1

    def _build(self, path: Path) -> None:
        import bm25s

        index = bm25s.BM25(k1=self.k1, b=self.b, method=self.method)
        with progress.step(f"bm25s: indexing the words of {len(self._texts)} passages"):
            index.index(self._tokens(self._texts), show_progress=False)
            index.save(path, allow_pickle=False, show_progress=False)

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        import bm25s

        try:
            words: list[list[str]] = bm25s.tokenize(
                list(texts), stopwords=self.stopwords or [], return_ids=False, show_progress=False
            )
        except ValueError as error:
            raise UserError(f"retriever.stopwords={self.stopwords}: {error}") from error
        return words

    def _bytes(self) -> int:
        return size_of(self._path)

    def search_texts(self, texts: Sequence[str], queries: Rows, k: int) -> Found:
        """(Q, k) scores, largest first, and row numbers; -1 where no further passage shares a word."""
        if self._index is None:
            raise RuntimeError("the retriever is not loaded")
        found = []
        for words in self._tokens(texts):
            values = (
                self._index.get_scores(words, weight_mask=self._mask) if words else np.zeros(0, np.float32)
            )
            best = np.argpartition(-values, k - 1)[:k] if k < len(values) else np.arange(len(values))
            found.append([(int(row), float(values[row])) for row in best if values[row] > 0])
        return packed(found, k)

    def search(self, queries: Rows, k: int) -> Found:
        """Raises UserError: vectors have no words."""
        raise UserError("retriever=bm25 searches by words: it has no search by vectors")

    def describe(self) -> dict[str, Scalar]:
        """The method and its numbers."""
        knobs: dict[str, Scalar] = {"method": self.method, "k1": self.k1, "b": self.b}
        return self.described(stopwords=self.stopwords, updates=False, **knobs)
