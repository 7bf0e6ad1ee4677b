"""The search benchmark at small sizes: what it says, and that it says what cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from mlsys.distance.search.benchmark import SearchBenchmark
from mlsys.distance.search.peers import PEERS, Peer, Problem
from mlsys.distance.search.peers.products import torch_matmul_topk
from mlsys.errors import UserError

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "metric": "l2", "queries": 3.0, "rows": 2e3, "dim": 16, "k": 4, "storage": "float32",
    "device": torch.device("cpu"), "repeats": 3, "warmup": 1, "time_limit_s": 5.0, "seed": 1,
}  # fmt: skip


def measured(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    values: dict[str, Any] = {}
    samples: dict[str, Any] = {}
    for part in SearchBenchmark(**{**SMALL, **changes}).measure():
        values |= part.values
        samples |= part.samples
    return values, samples


@pytest.mark.parametrize("metric", ["l2", "sqeuclidean", "l1", "cosine", "dot"])
def test_every_metric_is_exact_and_beside_its_peers(metric: str) -> None:
    values, samples = measured(metric=metric)
    assert values["recall"] == 1.0
    assert values["index_equal"] is True
    assert values["baseline.faiss.recall"] == 1.0
    assert len(samples["latency_ms"]) == len(samples["baseline.faiss.latency_ms"]) == 3
    assert values["queries_per_s"] == pytest.approx(3e3 / values["latency_ms"])
    assert values["speedup.faiss"] == pytest.approx(
        values["baseline.faiss.latency_ms"] / values["latency_ms"]
    )
    assert values["bytes_read"] == (2000 + 3) * 16 * 4
    assert ("baseline.torch_matmul.error" in values) == (metric == "l1")
    assert values["bound"] in ("memory", "matrix product")


def test_half_precision_storage_stays_exact_where_a_half_precision_product_does_not() -> None:
    values, _ = measured(metric="dot", storage="float16", rows=2e4, queries=8.0, k=10, reference_queries=8)
    assert values["recall"] == 1.0
    assert values["baseline.torch_matmul_topk.recall"] < 1.0 or values["index_equal"]


def test_rows_in_host_memory_are_streamed() -> None:
    values, _ = measured(placement="host", memory_budget=2 << 20, rows=3e4)
    assert values["method"] == "streamed"
    assert values["recall"] == 1.0
    assert values["stream.chunk_rows"] < 30000
    assert values["bandwidth_gbps"] == pytest.approx(3e4 * 16 * 4 / values["latency_ms"] / 1e6)


def test_a_peer_may_be_chosen() -> None:
    values, _ = measured(peers=["faiss"])
    assert {name.split(".")[1] for name in values if name.startswith("speedup")} == {"faiss"}


def test_a_peer_on_a_stream_of_its_own_is_timed_only_as_a_caller_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def elsewhere(problem: Problem) -> Peer:
        return replace(torch_matmul_topk(problem), own_stream=True)

    monkeypatch.setitem(PEERS, "elsewhere", elsewhere)
    values, samples = measured(peers=["elsewhere", "faiss"])
    assert values["wall_speedup.elsewhere"] == pytest.approx(
        values["baseline.elsewhere.wall_ms"] / values["wall_ms"]
    )
    assert values["baseline.elsewhere.recall"] == 1.0
    assert len(samples["baseline.elsewhere.wall_ms"]) == 3
    assert not {"speedup.elsewhere", "baseline.elsewhere.latency_ms"} & {*values, *samples}
    assert values["speedup.faiss"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": 1.5}, "search.queries=1.5 is not a whole number"),
        ({"rows": 0.0}, "search.rows=0 must be at least 1"),
        ({"dim": 0}, "search.dim=0 must be at least 1"),
        ({"k": 0}, "search.k=0 must be at least 1"),
        ({"k": 2001}, "search.k=2001 must be at most search.rows=2000"),
        ({"storage": "int8"}, "search.storage=int8 must be one of float32, float16, bfloat16"),
        ({"screen": "int4"}, "search.screen=int4 must be one of none, int8"),
        (
            {"screen": "int8", "placement": "host"},
            "search.screen=int8 takes rows on the GPU, not placement=host",
        ),
        ({"peers": ["annoy"]}, r"search.peers=\[annoy\] is not a peer; there are: torch_matmul_topk, "),
        ({"metric": "hamming"}, "metric=hamming is none of"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SearchBenchmark(**{**SMALL, **changes})


def test_the_kind_is_what_the_record_calls_it() -> None:
    assert replace(SearchBenchmark(**SMALL)).kind == "search"
    assert "faiss" in PEERS
