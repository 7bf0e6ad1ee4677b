"""Searches in CUDA graphs: when one is captured, and that replays give what searches without them give."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from mlsys.distance.language import why_not
from mlsys.distance.search.held import scorer_of
from mlsys.distance.search.index import Index
from mlsys.distance.search.kernels import graphs
from mlsys.distance.search.kernels.passes import KernelSearch
from mlsys.distance.search.ranking import RANKINGS

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
METRICS = sorted(RANKINGS)
REPLAYED = graphs.Found(torch.empty(0), torch.empty(0), np.zeros(1, np.int32), doubtful=0)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fake(monkeypatch: pytest.MonkeyPatch, dim: int = 8) -> tuple[graphs.Replays, list[tuple[int, int]]]:
    """Replays that write down what they capture and capture nothing."""
    rows = normal(500, dim, seed=1)
    kept = graphs.Replays(KernelSearch(rows, "l2", scorer_of(rows, "l2")))
    kept.enabled = True
    captured: list[tuple[int, int]] = []

    class Captured:
        def replay(self, queries: torch.Tensor, with_keys: bool) -> Any:
            return REPLAYED

    def capture(queries: torch.Tensor, k: int) -> Any:
        captured.append((len(queries), k))
        return Captured()

    monkeypatch.setattr(kept, "_capture", capture)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(graphs, "current_stream", lambda gpu: 0)
    return kept, captured


needs_triton = pytest.mark.skipif(why_not(DEVICE) is not None, reason="needs Triton")


@needs_triton
def test_a_shape_is_captured_when_it_comes_again_and_the_oldest_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, captured = fake(monkeypatch)
    queries = normal(4 + graphs.MOST_GRAPHS, 8, seed=2)
    found: list[object] = [kept.nearest(queries[:3], 5) for _ in range(3)]
    assert found == [None, REPLAYED, REPLAYED]
    assert captured == [(3, 5)]
    assert kept.nearest(queries[:3], 6) is None  # another k is another shape
    assert kept.nearest(queries[:3].double(), 5) is None  # which the kernels do not take
    for count in range(4, 4 + graphs.MOST_GRAPHS):
        kept.nearest(queries[:count], 5)
    assert len(kept.kept) == graphs.MOST_GRAPHS
    assert kept.nearest(queries[:3], 5) is None


@needs_triton
def test_a_search_of_much_workspace_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, captured = fake(monkeypatch)
    monkeypatch.setattr(graphs, "MOST_BYTES", 20_000)
    queries = normal(40, 8, seed=2)
    for count in (1, 40):
        for _ in range(2):
            kept.nearest(queries[:count], 5)
    assert captured == [(1, 5)]


@needs_triton
def test_while_one_thread_replays_others_search_without(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, captured = fake(monkeypatch)
    queries = normal(2, 8, seed=2)
    kept.nearest(queries, 5)
    found = []
    with kept._lock:
        thread = threading.Thread(target=lambda: found.append(kept.nearest(queries, 5)))
        thread.start()
        thread.join()
    assert (found, captured) == ([None], [])


@pytest.mark.skipif(torch.cuda.is_available(), reason="of the CPU")
def test_on_a_cpu_nothing_is_captured() -> None:
    rows = normal(300, 8, seed=3)
    kept = graphs.Replays(KernelSearch(rows, "l2", scorer_of(rows, "l2")))
    assert [kept.nearest(rows[:2], 3) for _ in range(3)] == [None] * 3


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_replays_give_what_searches_without_graphs_give(metric: str, dtype: torch.dtype, count: int) -> None:
    rows = normal(20_000, 64, seed=4).to(dtype).cuda()
    index, plain = Index(rows, metric), Index(rows, metric)
    assert plain._held.replays is not None
    plain._held.replays.enabled = False
    results, wanted = [], []
    for seed in range(5):
        queries = normal(count, 64, seed=seed).to(dtype).cuda()
        results.append(index.search(queries, 10))
        wanted.append(plain.search(queries, 10))
    assert index._held.replays is not None
    assert [captured is not None for captured in index._held.replays.kept.values()] == [True]
    for found, expected in zip(results, wanted, strict=True):  # none was overwritten by the next
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.gpu
def test_queries_that_a_replay_cannot_vouch_for_are_searched_again() -> None:
    rows = 1000 + 1e-3 * normal(5000, 16, seed=7).cuda()
    index = Index(rows, "l2")
    easy, hard = normal(1, 16, seed=8).cuda(), 1000 + 1e-3 * normal(1, 16, seed=9).cuda()
    for queries in (easy, easy, torch.cat([hard, hard])[:1], hard):
        distances, found = index.search(queries, 3)
        wanted = (rows.double() - queries.double()).norm(dim=1).topk(3, largest=False)
        assert found[0].tolist() == wanted.indices.tolist()
        torch.testing.assert_close(distances[0], wanted.values.float(), rtol=1e-6, atol=0)
    assert index.doubtful == 1


@pytest.mark.gpu
def test_threads_streams_and_many_shapes_do_not_disturb_each_other() -> None:
    rows = normal(30_000, 32, seed=10).cuda()
    index = Index(rows, "dot")
    queries = [normal(count, 32, seed=count).cuda() for count in range(1, 25)]
    wanted = [(some.double() @ rows.double().T).topk(4).indices for some in queries]
    failures: list[str] = []

    def work(seed: int) -> None:
        order = torch.randperm(200, generator=torch.Generator().manual_seed(seed)) % len(queries)
        with torch.cuda.stream(torch.cuda.Stream() if seed % 2 else torch.cuda.default_stream()):
            for i in order.tolist():
                if not torch.equal(index.search(queries[i], 4)[1], wanted[i]):
                    failures.append(f"thread {seed}, {i + 1} queries")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    torch.cuda.synchronize()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert index._held.replays is not None
    assert len(index._held.replays.kept) == graphs.MOST_GRAPHS
