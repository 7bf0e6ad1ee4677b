"""The path to a Qdrant server, over the client's own in-memory mode: no server runs here, nor its graph."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sections import made as option

from mlsys.errors import UserError
from mlsys.rag.corpus import Passage

COUNT, DIM, K = 50, 8, 5
ROWS = np.random.default_rng(0).normal(size=(COUNT, DIM)).astype(np.float32)
QUERIES = np.random.default_rng(1).normal(size=(3, DIM)).astype(np.float32)
PASSAGES = [Passage(i, "text", f"part{i % 3}", 0) for i in range(COUNT)]


@pytest.fixture
def client() -> Iterator[Any]:
    qdrant = pytest.importorskip("qdrant_client", exc_type=ImportError)
    made = qdrant.QdrantClient(":memory:")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it says that it compares every point
        yield made
    made.close()


def loaded(client: Any, metric: str = "cosine", **knobs: Any) -> Any:
    store = option("retriever/qdrant", metric=metric, url="http://127.0.0.1:6333", **knobs)
    store._server._made = client
    store.read(PASSAGES)
    store.load(ROWS, "cpu", "digest")
    return store


def exact(metric: str = "cosine", **knobs: Any) -> Any:
    store = option("retriever/exact", metric=metric, **knobs)
    store.read(PASSAGES)
    store.load(ROWS, "cpu", "")
    return store


@pytest.mark.parametrize("metric", ["l2", "sqeuclidean", "l1", "cosine", "dot"])
def test_it_finds_what_the_exact_one_finds_with_its_scores(client: Any, metric: str) -> None:
    scores, rows = loaded(client, metric).search(QUERIES, K)
    exact_scores, exact_rows = exact(metric).search(QUERIES, K)
    assert (rows == exact_rows).all()
    np.testing.assert_allclose(scores, exact_scores, rtol=1e-4, atol=1e-5)


def test_a_filter_leaves_passages_of_its_sources_only(client: Any) -> None:
    chosen = {"source": "part1"}
    rows = loaded(client, filter=chosen).search(QUERIES, K)[1]
    assert (rows == exact(filter=chosen).search(QUERIES, K)[1]).all()


def test_a_collection_is_built_once_and_a_changed_one_is_not_taken_for_it(client: Any) -> None:
    first, second = loaded(client), loaded(client)
    assert first.cost["build_s"] is not None
    assert second.cost["build_s"] is None
    second.add(QUERIES[:1], [COUNT], ["new"])
    assert second.search(QUERIES[:1], 1)[1].tolist() == [[COUNT]]
    second.remove([COUNT, 0])
    assert COUNT not in second.search(QUERIES[:1], K)[1]
    third = loaded(client)
    assert third.cost["build_s"] is not None
    assert (third.search(QUERIES, K)[1] == exact().search(QUERIES, K)[1]).all()


def test_a_server_that_is_not_there_is_named() -> None:
    store = option("retriever/qdrant", url="http://127.0.0.1:9", timeout_s=1.0)
    with pytest.raises(UserError, match=r"^retriever.url=http://127.0.0.1:9: .*refused"):
        store.load(ROWS, "cpu", "digest")
