"""Every store against the exact retriever: metrics, filter, updates, what is kept on disk, and what is refused."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sections import made as option

from mlsys.errors import UserError
from mlsys.rag.corpus import Passage
from mlsys.rag.retriever.store import Store
from mlsys.rag.retriever.updatable import UpdatableStore

COUNT, DIM, K = 300, 16, 5
ROWS = np.random.default_rng(0).normal(size=(COUNT, DIM)).astype(np.float32)
QUERIES = np.random.default_rng(1).normal(size=(4, DIM)).astype(np.float32)
PASSAGES = [Passage(i, f"word{i} shared", f"part{i % 3}/file.md", 0) for i in range(COUNT)]

STORES: dict[str, dict[str, Any]] = {
    "faiss flat": {},
    "faiss hnsw": {"index": "hnsw"},
    "sqlite_vec": {},
    "usearch exact": {"index": "exact"},
    "usearch hnsw": {"index": "hnsw"},
    "qdrant flat": {"index": "flat"},
    "qdrant hnsw": {"index": "hnsw"},
    "lancedb flat": {},
    "lancedb ivf_pq": {"index": "ivf_pq", "num_partitions": 2, "nprobes": 2, "refine_factor": 50},
}
UPDATABLE = [name for name in STORES if not name.startswith("faiss")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def shared_cache(monkeypatch: pytest.MonkeyPatch, built: Path) -> None:
    monkeypatch.setenv("MLSYS_CACHE", str(built))


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLSYS_CACHE", str(tmp_path))


def loaded(name: str, **knobs: Any) -> Any:
    store = option(f"retriever/{name.split()[0]}", **{**STORES.get(name, {}), **knobs})
    store.read(PASSAGES)
    store.load(ROWS, "cpu", "digest")
    return store


METRICS = [
    (name, metric)
    for name in STORES
    for metric in type(option(f"retriever/{name.split()[0]}")).metrics
    if metric == "cosine" or not name.endswith(("hnsw", "ivf_pq"))
]


@pytest.mark.parametrize(("name", "metric"), METRICS)
def test_a_store_finds_what_the_exact_one_finds_with_its_scores(name: str, metric: str) -> None:
    scores, rows = loaded(name, metric=metric).search(QUERIES, K)
    exact_scores, exact_rows = loaded("exact", metric=metric).search(QUERIES, K)
    assert (rows == exact_rows).all()
    np.testing.assert_allclose(scores, exact_scores, rtol=1e-4, atol=1e-5)
    one_score, one_row = loaded(name, metric=metric).search(QUERIES[:1], 1)
    assert one_row.tolist() == [[exact_rows[0, 0]]]
    assert one_score.shape == (1, 1)


@pytest.mark.parametrize("name", ["exact", *STORES])
def test_a_filter_leaves_passages_of_its_sources_only(name: str) -> None:
    rows = loaded(name, filter={"source": ["part1/*", "part2/file.md"]}).search(QUERIES, K)[1]
    plain = loaded("exact").search(QUERIES, COUNT)[1]
    assert rows.tolist() == [[row for row in nearest if row % 3][:K] for nearest in plain.tolist()]


@pytest.mark.parametrize("name", ["exact", *STORES])
def test_where_a_filter_leaves_too_few_the_rest_is_empty(name: str) -> None:
    store = option(f"retriever/{name.split()[0]}", **STORES.get(name, {}), filter={"source": "rare"})
    store.read([Passage(i, "text", "rare" if i == 7 else "other", 0) for i in range(COUNT)])
    store.load(ROWS, "cpu", "rare")
    scores, rows = store.search(QUERIES, 3)
    assert rows.tolist() == [[7, -1, -1]] * len(QUERIES)
    assert np.isneginf(scores[:, 1:]).all()


@pytest.mark.parametrize("name", UPDATABLE)
def test_passages_come_and_go_without_a_rebuild(name: str) -> None:
    store = loaded(name)
    assert issubclass(type(store), UpdatableStore)
    store.add(QUERIES[:2], [COUNT, COUNT + 1], ["new", "new"])
    assert store.search(QUERIES[:2], 1)[1].tolist() == [[COUNT], [COUNT + 1]]
    store.remove([COUNT])
    assert store.search(QUERIES[:2], 1)[1].tolist() == [
        loaded("exact").search(QUERIES[:1], 1)[1][0],
        [COUNT + 1],
    ]
    with pytest.raises(UserError, match="is there already"):
        store.add(QUERIES[:2], [COUNT + 2, COUNT + 1], ["new", "new"])
    with pytest.raises(UserError, match="is not there"):
        store.remove([COUNT])
    assert COUNT + 2 not in store.search(QUERIES, 10)[1]
    assert (loaded(name).search(QUERIES, K)[1] == loaded("exact").search(QUERIES, K)[1]).all(), (
        "what is kept stays as its digest says"
    )


@pytest.mark.parametrize("name", UPDATABLE)
def test_what_is_added_passes_the_filter_or_not(name: str) -> None:
    store = loaded(name, filter={"source": "part1/*"})
    store.add(QUERIES[:2], [COUNT, COUNT + 1], ["part1/new", "part2/new"])
    rows = store.search(QUERIES[:2], 1)[1]
    assert rows[0] == COUNT
    assert rows[1] % 3 == 1


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("name", STORES)
def test_an_index_is_built_once_and_searched_by_any_thread(name: str) -> None:
    first, second = loaded(name), loaded(name)
    assert first.cost["build_s"] is not None
    in_memory = name in ("faiss flat", "usearch exact")
    assert (second.cost["build_s"] is None) != in_memory
    assert first.cost["bytes"] >= ROWS.nbytes
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(second.search(QUERIES, K)[1])) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    assert (found[0] == first.search(QUERIES, K)[1]).all()
    assert (found[1] == found[0]).all()
    assert "updates" in second.describe()


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("name", [name for name in STORES if name not in ("faiss flat", "usearch exact")])
def test_what_the_cache_holds_is_checked(name: str, tmp_path: Path) -> None:
    loaded(name)
    store = option(f"retriever/{name.split()[0]}", **STORES[name])
    with pytest.raises(UserError, match=r"does not hold vectors of the shape \(280, 16\): delete it"):
        store.load(ROWS[:280], "cpu", "digest")
    (kept,) = [path for path in (tmp_path / "index").iterdir() if not path.name.startswith(".")]
    for file in [kept, *kept.rglob("*")]:
        if file.is_file():
            file.write_bytes(file.read_bytes()[:1000] + b"\0" * 100)
    with pytest.raises(UserError, match=r"is damaged.*: delete it"):
        store.load(ROWS, "cpu", "digest")


@pytest.mark.parametrize(
    ("name", "knobs", "message"),
    [
        (
            "exact",
            {"filter": {"author": "me"}},
            r"retriever.filter.author is no field of a passage; it has source",
        ),
        (
            "exact",
            {"filter": "part1"},
            r"retriever.filter=part1 must be fields: retriever.filter={source: NAME}",
        ),
        (
            "exact",
            {"filter": {"source": True}},
            r"retriever.filter.source=True must be a name or a list of names",
        ),
        (
            "sqlite_vec",
            {"metric": "dot"},
            r"retriever.metric=dot: sqlite_vec has l2, sqeuclidean, l1, cosine",
        ),
        ("usearch", {"metric": "l1"}, r"retriever.metric=l1: usearch has l2, sqeuclidean, cosine, dot"),
        ("usearch", {"dtype": "f8"}, r"retriever.dtype=f8 is none of f32, f16, bf16, i8"),
        (
            "usearch",
            {"dtype": "i8", "metric": "l2"},
            r"retriever.dtype=i8 goes with retriever.metric=cosine, not l2",
        ),
        ("usearch", {"expansion_search": 0}, r"retriever.expansion_search=0 must be at least 1"),
        ("qdrant", {"index": "ivf"}, r"retriever.index=ivf is none of hnsw, flat"),
        ("qdrant", {"url": "localhost"}, r"retriever.url=localhost must begin with http:// or https://"),
        ("qdrant", {"url": "http://a", "api_key": "abc"}, r"retriever.api_key must be env:NAME"),
        ("qdrant", {"timeout_s": 0.0}, r"retriever.timeout_s=0.0 must be more than 0 and finite"),
        ("lancedb", {"metric": "l1"}, r"retriever.metric=l1: lancedb has l2, sqeuclidean, cosine, dot"),
        ("lancedb", {"nprobes": 0}, r"retriever.nprobes=0 must be at least 1"),
        ("pgvector", {}, r"retriever.url=null must be an address: postgresql://user@host:5432/database"),
        (
            "pgvector",
            {"url": "postgresql://me:secret@host/db"},
            r"retriever.url has a password, which would stay",
        ),
        ("bm25", {"b": 2.0}, r"retriever.b=2.0 must be from 0 to 1"),
        (
            "bm25",
            {"method": "tfidf"},
            r"retriever.method=tfidf is none of lucene, robertson, atire, bm25l, bm25\+",
        ),
    ],
)
def test_bad_knobs_are_named(name: str, knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        option(f"retriever/{name}", **knobs)


def test_a_filter_that_matches_nothing_says_what_there_is() -> None:
    with pytest.raises(
        UserError,
        match=r"^retriever.filter.source=x\* matches no source; there are: part0/file.md",
    ):
        loaded("exact", filter={"source": "x*"})


def test_a_store_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "modules", ("absent_module",))
    with pytest.raises(UserError, match=r"^retriever=exact: absent_module is not installed"):
        Store(name="exact", metric="l2", filter=None)


def test_more_than_the_store_finds_is_refused() -> None:
    with pytest.raises(UserError, match=r"^k=5000: retriever=sqlite_vec finds at most 4096 passages"):
        loaded("sqlite_vec").search(QUERIES, 5000)
