"""BM25 against its formula, its filter, and the questions it cannot answer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sections import made as option

from mlsys.errors import UserError
from mlsys.rag.corpus import Passage
from mlsys.rag.retriever import Updatable

TEXTS = [
    "cats purr softly",
    "dogs bark",
    "cats chase mice while dogs sleep",
    "birds sing and cats listen cats",
]
NONE = np.empty((1, 0), np.float32)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLSYS_CACHE", str(tmp_path))


def loaded(**knobs: Any) -> Any:
    store = option("retriever/bm25", **knobs)
    store.read([Passage(i, text, f"file{i % 2}", 0) for i, text in enumerate(TEXTS)])
    store.load(np.empty((len(TEXTS), 0), np.float32), "cpu", "digest")
    return store


def by_formula(word: str, text: str, k1: float, b: float) -> float:
    """Lucene's: the idf plus 1 within the logarithm, no factor k1 + 1."""
    documents = [text.split() for text in TEXTS]
    containing = sum(word in document for document in documents)
    idf = math.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
    mean = sum(map(len, documents)) / len(documents)
    tf, length = text.split().count(word), len(text.split())
    return idf * tf / (tf + k1 * (1 - b + b * length / mean))


def test_the_scores_are_those_of_the_formula() -> None:
    scores, rows = loaded(stopwords=None, k1=1.2, b=0.5).search_texts(["cats"], NONE, 3)
    expected = {i: by_formula("cats", text, 1.2, 0.5) for i, text in enumerate(TEXTS) if "cats" in text}
    assert rows[0].tolist() == sorted(expected, key=lambda i: -expected[i])
    np.testing.assert_allclose(scores[0], sorted(expected.values(), reverse=True), rtol=1e-5)


@pytest.mark.parametrize("method", ["lucene", "robertson", "atire", "bm25l", "bm25+"])
def test_every_variant_puts_the_passage_with_both_words_first(method: str) -> None:
    store = loaded(method=method)
    assert store.search_texts(["mice and sleep"], NONE, 2)[1][0, 0] == 2


def test_a_question_without_known_words_finds_nothing() -> None:
    scores, rows = loaded().search_texts(["unheard", "", "the and of", "birds"], NONE, 2)
    assert rows.tolist() == [[-1, -1], [-1, -1], [-1, -1], [3, -1]]
    assert np.isneginf(scores[:3]).all()


def test_a_filter_leaves_passages_of_its_sources_only() -> None:
    assert loaded(filter={"source": "file0"}).search_texts(["cats"], NONE, 4)[1].tolist() == [[0, 2, -1, -1]]


def test_an_index_is_kept_checked_and_never_unpickled(tmp_path: Path) -> None:
    assert loaded().cost["build_s"] is not None
    assert loaded().cost["build_s"] is None
    (kept,) = (tmp_path / "index").glob("*.bm25")
    np.save(kept / "data.csc.index.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(
        UserError, match=r"is damaged \(ValueError: Object arrays cannot be loaded.*: delete it"
    ):
        loaded()


def test_an_index_of_other_passages_is_refused() -> None:
    loaded()
    store = option("retriever/bm25")
    store.read([Passage(0, "one", "file", 0)])
    with pytest.raises(UserError, match="does not hold 1 passages: delete it"):
        store.load(np.empty((1, 0), np.float32), "cpu", "digest")


def test_what_it_cannot_is_said() -> None:
    store = loaded()
    assert not isinstance(store, Updatable)
    with pytest.raises(UserError, match=r"^retriever=bm25 searches by words: it has no search by vectors"):
        store.search(np.ones((1, 3), np.float32), 1)
    with pytest.raises(UserError, match=r"^retriever.stopwords=klingon: klingon not recognized"):
        loaded(stopwords="klingon")
