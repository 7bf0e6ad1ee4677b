"""The benchmarks of rows and of all pairs at small sizes: what they say, and that they say what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mlsys.distance.cross.benchmark import CdistBenchmark
from mlsys.distance.rows.benchmark import PairsBenchmark
from mlsys.errors import UserError

TIMES: dict[str, Any] = {
    "device": torch.device("cpu"), "repeats": 2, "warmup": 0, "time_limit_s": 1.0, "seed": 1,
}  # fmt: skip
PAIRS: dict[str, Any] = {
    **TIMES, "metric": "l2", "rows": 300.0, "dim": 16, "elements": None, "storage": "float32", "one": False,
    "backward": False, "peers": ["torch", "numpy"],
}  # fmt: skip
CDIST: dict[str, Any] = {
    **TIMES, "metric": "l2", "queries": 40.0, "rows": 30.0, "dim": 16, "storage": "float32", "near": 0.5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsys.timing.COPY_BYTES", {"cpu": 1 << 20})
    monkeypatch.setattr("mlsys.timing._flush_bytes", lambda device: 1 << 10)


def measured(benchmark: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    values: dict[str, Any] = {}
    samples: dict[str, Any] = {}
    for part in benchmark.measure():
        values |= part.values
        samples |= part.samples
    return values, samples


@pytest.mark.parametrize("metric", ["l2", "sqeuclidean", "l1", "cosine", "dot"])
def test_rows_are_right_and_measured_beside_others(metric: str) -> None:
    values, samples = measured(PairsBenchmark(**{**PAIRS, "metric": metric, "backward": True}))
    assert values["relative_error"] < 3e-6
    assert values["baseline.numpy.relative_error"] < 1e-3
    assert values["bytes_read"] == 2 * 300 * 16 * 4
    assert values["copy_share"] == pytest.approx(values["bandwidth_gbps"] / values["copy_bandwidth_gbps"])
    assert values["pairs_per_s"] == pytest.approx(3e5 / values["latency_ms"])
    assert values["speedup.torch"] == pytest.approx(
        values["baseline.torch.latency_ms"] / values["latency_ms"]
    )
    assert values["gradient_difference"] < 1e-4
    for prefix in ("backward", "step"):
        ours, theirs = values[f"{prefix}.latency_ms"], values[f"baseline.autograd.{prefix}.latency_ms"]
        assert values[f"{prefix}_speedup.autograd"] == pytest.approx(theirs / ours)
    assert len(samples["latency_ms"]) == len(samples["baseline.torch.wall_ms"]) == 2


def test_a_rival_whose_answer_is_wrong_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"storage": "float16", "rows": 4.0, "dim": 100_000, "peers": ["numpy", "torch"]}
    values, _ = measured(PairsBenchmark(**{**PAIRS, **changes}))
    assert values["baseline.numpy.relative_error"] == float("inf")
    told = capsys.readouterr().err
    assert "numpy is wrong: its relative error is up to inf" in told
    assert "torch is wrong" not in told


def test_elements_say_how_many_rows_there_are_and_one_row_may_stand_for_all() -> None:
    values, _ = measured(PairsBenchmark(**{**PAIRS, "elements": 1e3, "dim": 100, "one": True, "peers": []}))
    assert values["rows"] == 10
    assert values["bytes_read"] == 11 * 100 * 4


@pytest.mark.parametrize("metric", ["l2", "sqeuclidean", "l1", "cosine", "dot"])
def test_all_pairs_are_right_where_a_product_in_float32_is_not(metric: str) -> None:
    values, samples = measured(CdistBenchmark(**{**CDIST, "metric": metric}))
    assert values["relative_error"] < 3e-6
    assert ("speedup.scipy" in values) == (metric != "dot")
    assert values["terms_per_s"] == pytest.approx(1e3 * 40 * 30 * 16 / values["latency_ms"])
    assert len(samples["latency_ms"]) == len(samples["baseline.torch_cdist.wall_ms"]) == 2
    if metric in ("sqeuclidean", "cosine"):
        assert values["baseline.torch_cdist.relative_error"] > 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 1.5}, "pairs.rows=1.5 is not a whole number"),
        ({"rows": 0.0}, "pairs.rows=0 must be at least 1"),
        ({"elements": 15.0}, "pairs.elements=15 must be at least pairs.dim=16, which is one row"),
        ({"dim": 0}, "pairs.dim=0 must be at least 1"),
        ({"elements": 0.5}, "pairs.elements=0.5 is not a whole number"),
        ({"storage": "int8"}, "pairs.storage=int8 must be one of float32, float16, bfloat16"),
        ({"peers": ["jax"]}, r"pairs.peers=\[jax\] is not a peer; there are: torch, "),
        ({"metric": "hamming"}, "metric=hamming is none of"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PairsBenchmark(**{**PAIRS, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": 1.5}, "cdist.queries=1.5 is not a whole number"),
        ({"reference_rows": 0}, "cdist.reference_rows=0 must be at least 1"),
        ({"near": 1.5}, "cdist.near=1.5 must be from 0 to 1"),
        ({"peers": ["keops"]}, r"cdist.peers=\[keops\] is not a peer; there are: torch_cdist, "),
    ],
)
def test_what_cannot_be_of_all_pairs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CdistBenchmark(**{**CDIST, **changes})
