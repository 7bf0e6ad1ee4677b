"""Two lists of passages, fused by their ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sections import composed, section

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.rag.corpus import Passage

TEXTS = ["apples grow on trees", "pears grow", "cars drive", "trains drive on rails", "apples fall"]
ROWS = np.eye(5, dtype=np.float32)
QUERY = np.array([[0.1, 0.9, 0.8, 0.2, 0.3]], np.float32)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLSYS_CACHE", str(tmp_path))


def loaded(*words: str, **knobs: Any) -> Any:
    given = composed("retriever=hybrid", *words)["retriever"]
    store = signatures.make("retriever", {**given, **knobs})
    store.read([Passage(i, text, f"file{i % 2}", 0) for i, text in enumerate(TEXTS)])
    store.load(ROWS, "cpu", "digest")
    return store


def test_the_scores_are_sums_of_reciprocal_ranks() -> None:
    store = loaded("retriever.rank_constant=10")
    scores, rows = store.search_texts(["apples"], QUERY, 5)
    by_vector = [1, 2, 4, 3, 0]
    by_words = [4, 0]  # the shorter passage first
    expected = {row: 1 / (10 + rank) for rank, row in enumerate(by_vector, 1)}
    for rank, row in enumerate(by_words, 1):
        expected[row] += 1 / (10 + rank)
    assert rows[0].tolist() == sorted(expected, key=lambda row: -expected[row])
    np.testing.assert_allclose(scores[0], sorted(expected.values(), reverse=True), rtol=1e-6)


def test_its_two_are_chosen_and_set_like_any_retriever() -> None:
    store = loaded(
        "retriever@retriever.first=usearch", "retriever.first.index=exact", "retriever.second.k1=0.5"
    )
    described = store.describe()
    assert (described["first.name"], described["first.index"]) == ("usearch", "exact")
    assert (described["second.name"], described["second.k1"]) == ("bm25", 0.5)
    assert store.needs_vectors
    assert store.cost["build_s"] is not None
    assert not loaded("retriever@retriever.first=bm25", "retriever.first.method=atire").needs_vectors


def test_its_filter_and_metric_are_those_of_both() -> None:
    store = loaded("retriever.filter.source=file0", "retriever.metric=dot")
    assert sorted(store.search_texts(["apples"], QUERY, 5)[1][0].tolist()) == [-1, -1, 0, 2, 4]
    assert store.describe()["first.metric"] == "dot"


def test_wrong_knobs_are_named() -> None:
    with pytest.raises(UserError, match=r"^retriever.depth=0 must be at least 1"):
        loaded(depth=0)
    with pytest.raises(UserError, match=r"^retriever.first=exact has no m; it has name, metric, filter"):
        loaded(first={**section("retriever/exact"), "m": 3})
    with pytest.raises(UserError, match=r"none of them may be hybrid"):
        loaded(first=section("retriever/hybrid"))
