from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from mlsys import timing
from mlsys.distance import metrics, numba_loop, reductions
from mlsys.distance.benchmark import DistanceBenchmark
from mlsys.distance.data.file import File
from mlsys.distance.data.random import Random
from mlsys.errors import UserError
from mlsys.record import Results


@pytest.fixture(autouse=True)
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(timing.COPY_BYTES, "cpu", 2**20)
    monkeypatch.setattr(timing, "last_level_cache_bytes", lambda: 2**18)


def benchmark(**changes: Any) -> DistanceBenchmark:
    fields = {
        "metric": metrics.get("l2"),
        "reduction": reductions.get("auto"),
        "data": Random(),
        "n": 1000,
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "placement": "device",
        "memory_budget": 2**22,
        "baselines": ["numpy", "torch"],
        "repeats": 4,
        "warmup": 1,
        "time_limit_s": 5,
        "seed": 0,
    }
    return DistanceBenchmark(**{**fields, **changes})


def measure(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    values: dict[str, Any] = {}
    samples: dict[str, Any] = {}
    for part in benchmark(**changes).measure():
        assert isinstance(part, Results)
        values |= part.values
        samples |= part.samples
    return values, samples


def test_a_record_has_value_error_times_and_baselines() -> None:
    values, samples = measure()
    x, y = (source.tensor().numpy().astype(np.float64) for source in Random().open(1000, torch.float32, 0))
    assert values["reference"] == pytest.approx(np.linalg.norm(x - y), rel=1e-12)
    assert values["value"] == pytest.approx(values["reference"], rel=1e-6)
    assert values["relative_error"] <= 1e-6
    assert values["latency_ms_p25"] <= values["latency_ms"] <= values["latency_ms_p75"]
    assert values["latency_ms"] == np.median(samples["latency_ms"])
    assert values["bandwidth_gbps"] == pytest.approx(2 * 4000 / values["latency_ms"] / 1e6)
    assert values["copy_share"] == pytest.approx(values["bandwidth_gbps"] / values["copy_bandwidth_gbps"])
    assert len(samples["latency_ms"]) == len(samples["baseline.numpy.latency_ms"]) == values["repeats"] == 4
    assert (values["reduction"], values["device"], values["n"]) == ("blocked", "cpu", 1000)
    assert values["baseline.numpy.expression"] == "np.sqrt(np.sum((x - y) ** 2))"
    ratio = values["baseline.numpy.latency_ms"] / values["baseline.numpy.ours_ms"]
    assert values["speedup.numpy"] == pytest.approx(ratio)


@pytest.mark.parametrize("metric", ["l2", "sqeuclidean", "l1", "cosine", "dot"])
@pytest.mark.parametrize("placement", ["device", "host"])
def test_every_metric_is_right_in_either_placement(metric: str, placement: str) -> None:
    values, _ = measure(metric=metrics.get(metric), placement=placement, baselines=[], n=70_000)
    assert values["relative_error"] <= 1e-6
    assert values["placement"] == placement
    if placement == "host":
        assert values["stream.chunk_n"] > 0
        assert values["stream.relayed"] is False  # on a CPU
        assert values["memory_budget_bytes"] == 2**22


def test_a_baseline_that_cannot_run_says_why_and_the_others_run() -> None:
    values, _ = measure(dtype=torch.bfloat16)
    assert values["baseline.numpy.error"] == "numpy has no bfloat16"
    assert values["speedup.torch"] > 0
    assert "speedup.numpy" not in values


def test_a_baseline_whose_answer_is_wrong_is_told_without_the_librarys_own_warnings(
    capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    values, _ = measure(dtype=torch.float16, n=200_000, baselines=["numpy", "torch_native", "torch_dot"])
    assert values["baseline.numpy.relative_error"] == np.inf
    assert values["baseline.torch_native.relative_error"] < 1e-3
    assert "baseline.torch_dot.relative_error" not in values  # it stands for the read limit
    assert values["speedup.numpy"] > 0
    told = capsys.readouterr().err
    assert "baseline numpy is wrong: inf where the distance is 63" in told
    assert "torch_native is wrong" not in told
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_every_baseline_of_ordinary_vectors_is_right() -> None:
    names = ["numpy", "numpy_native", "scipy", "sklearn", "numkong", "torch", "torch_native"]
    values, _ = measure(metric=metrics.get("cosine"), baselines=names)
    assert max(values[f"baseline.{name}.relative_error"] for name in names) < 1e-4


@pytest.mark.gpu
def test_host_vectors_are_measured_beside_the_plain_way_and_the_best_copy() -> None:
    device = torch.device("cuda")
    values, _ = measure(
        n=10**7, device=device, placement="host", memory_budget=2**26, baselines=["torch_cuda"]
    )
    assert values["stream.relayed"] is True
    assert values["host_to_device_gbps"] > 1
    assert values["speedup.torch_cuda"] > 0
    assert values["baseline.torch_cuda.expression"].endswith("(x.cuda(), y.cuda())")


def test_an_unknown_baseline_is_an_error_before_anything_is_measured() -> None:
    with pytest.raises(UserError, match=r"baselines=\[jax\]"):
        next(benchmark(baselines=["numpy", "jax"]).measure())


def test_vectors_that_do_not_fit_say_what_they_need_and_what_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 2**20}))
    with pytest.raises(
        UserError,
        match=r"size=1e\+09: the vectors need 7\.451 GiB, 1 MiB of memory is free; "
        "data=file placement=host streams vectors from disk",
    ):
        measure(n=10**9)


class WithNaN(Random):
    def open(self, n: int, dtype: torch.dtype, seed: int) -> Any:
        x, y = super().open(n, dtype, seed)
        x.tensor()[5] = math.nan
        return x, y


def test_nan_propagates_is_counted_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    values, _ = measure(data=WithNaN(), baselines=[])
    assert math.isnan(values["value"])
    assert (values["nan_count"], values["relative_error"]) == (1, 0.0)
    assert "1 NaN in the input" in capsys.readouterr().err


def test_dot_is_judged_by_the_sum_of_magnitudes() -> None:
    values, _ = measure(metric=metrics.get("dot"), baselines=[])
    x, y = (source.tensor().numpy().astype(np.float64) for source in Random().open(1000, torch.float32, 0))
    scale = np.abs(x * y).sum()
    assert values["relative_error"] == pytest.approx(abs(values["value"] - x @ y) / scale, abs=1e-12)


def test_the_record_says_what_takes_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measure(baselines=[], n=50)[0]["blocked.loop"] == "numpy"
    assert measure(baselines=[])[0]["blocked.loop"] == "numba"
    monkeypatch.setattr(numba_loop, "_numba", lambda: None)
    assert measure(baselines=[])[0]["blocked.loop"] == "numpy"


def test_what_was_asked_for_is_not_overruled_by_a_file(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    np.save(path, np.ones(5))
    data = File(x=str(path), y=str(path))
    assert measure(data=data, baselines=[])[0]["n"] == 5  # the defaults give way
    with pytest.raises(UserError, match=r"^size=1000, but data.x \(v.npy\) has 5: leave size out$"):
        measure(data=data, asked=frozenset({"size"}))
    with pytest.raises(
        UserError, match=r"^dtype=float32, but data.x \(v.npy\) has float64: leave dtype out$"
    ):
        measure(data=data, asked=frozenset({"dtype"}))
    same = {"n": 5, "dtype": torch.float64, "asked": frozenset({"size", "dtype"})}
    assert measure(data=data, baselines=[], **same)[0]["dtype"] == "float64"
