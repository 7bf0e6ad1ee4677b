"""The exact retriever against definitions, faiss against the exact one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sections import made as option

from mlsys.distance.metrics import searchable
from mlsys.errors import UserError

Scores = np.ndarray[Any, np.dtype[np.float64]]
ROWS = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
QUERIES = np.random.default_rng(1).normal(size=(7, 16)).astype(np.float32)


def defined(metric: str) -> Scores:
    """Scores (7, 200) by definition, in float64; larger is nearer."""
    x, y = QUERIES[:, None].astype(float), ROWS[None].astype(float)
    products: Scores = (x * y).sum(-1)
    scores: dict[str, Scores] = {
        "l2": -np.sqrt(((x - y) ** 2).sum(-1)),
        "sqeuclidean": -((x - y) ** 2).sum(-1),
        "l1": -np.abs(x - y).sum(-1),
        "dot": products,
        "cosine": products / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1),
    }
    return scores[metric]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLSYS_CACHE", str(tmp_path))


@pytest.mark.parametrize("metric", searchable())
@pytest.mark.parametrize("name", ["exact", "faiss"])
def test_the_nearest_come_first_with_their_scores(name: str, metric: str) -> None:
    retriever = option(f"retriever/{name}", metric=metric)
    retriever.load(ROWS, "cpu", "digest")
    scores, rows = retriever.search(QUERIES, 5)
    expected = np.argsort(-defined(metric), axis=1, kind="stable")[:, :5]
    assert (rows == expected).all()
    np.testing.assert_allclose(scores, np.take_along_axis(defined(metric), expected, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", searchable())
def test_equal_rows_go_to_the_lowest(metric: str) -> None:
    retriever = option("retriever/exact", metric=metric)
    retriever.load(np.ones((6, 4), np.float32), "cpu", "digest")
    assert retriever.search(np.ones((1, 4), np.float32), 3)[1].tolist() == [[0, 1, 2]]


def test_a_graph_is_built_once_and_finds_nearly_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    exact, graph = (
        option("retriever/exact", metric="l2"),
        option("retriever/faiss", metric="l2", index="hnsw", hnsw_m=8, ef_construction=40),
    )
    exact.load(ROWS, "cpu", "digest")
    graph.load(ROWS, "cpu", "digest")
    found, nearest = graph.search(QUERIES, 10)[1], exact.search(QUERIES, 10)[1]
    assert (
        np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), nearest.tolist(), strict=True)])
        > 0.9
    )
    assert len(list((tmp_path / "index").glob("*.faiss"))) == 1
    monkeypatch.setattr("faiss.IndexHNSWFlat", lambda *_: pytest.fail("built again"))
    again = option("retriever/faiss", metric="l2", index="hnsw", hnsw_m=8, ef_construction=40)
    again.load(ROWS, "cpu", "digest")
    assert (again.search(QUERIES, 10)[1] == found).all()
    assert again.describe()["index"] == "hnsw"
    with pytest.raises(UserError, match=r"graph.* does not hold vectors of the shape \(5, 4\): delete it"):
        again._read(next((tmp_path / "index").glob("*.faiss")).rename(tmp_path / "graph"), (5, 4))
    (tmp_path / "graph").write_bytes((tmp_path / "graph").read_bytes()[:1000])
    with pytest.raises(UserError, match="graph is damaged: delete it"):
        again._read(tmp_path / "graph", ROWS.shape)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: option("retriever/faiss", index="ivf"), r"retriever.index=ivf is none of flat, hnsw"),
        (
            lambda: option("retriever/faiss", metric="l3"),
            r"retriever.metric=l3 is none of cosine, dot, l1, l2, sqeuclidean",
        ),
        (lambda: option("retriever/faiss", hnsw_m=1), r"retriever.hnsw_m=1 must be at least 2"),
        (lambda: option("retriever/faiss", ef_search=0), r"retriever.ef_search=0 must be at least 1"),
    ],
)
def test_bad_knobs_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
