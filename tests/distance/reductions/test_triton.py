"""The Triton reductions: on a GPU where there is one, else in Triton's interpreter (no memory ordering there)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from definitions import SCIPY, peer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlsys.distance import distance, plan, stream
from mlsys.distance.reductions import Reduction
from mlsys.distance.reductions.atomic import Atomic
from mlsys.distance.reductions.hierarchical import Hierarchical, levels
from mlsys.distance.reductions.single_pass import SinglePass
from mlsys.distance.source import TensorSource
from mlsys.errors import UserError

pytestmark = pytest.mark.slow

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CUT: dict[str, Any] = {"tile_bytes": 4096, "tiles": 2}  # small segments, so that short vectors have many
REDUCTIONS: list[Reduction] = [Atomic(**CUT), Hierarchical(**CUT, fan=4), SinglePass(**CUT, fan=4)]
reductions = pytest.mark.parametrize("reduction", REDUCTIONS, ids=lambda reduction: reduction.name)


def error(x: torch.Tensor, y: torch.Tensor, metric: str, reduction: Reduction) -> float:
    truth, scale = peer(metric, x.double().cpu(), y.double().cpu())
    return abs(float(distance(x, y, metric, reduction)) - truth) / scale


def vectors(
    n: int, dtype: torch.dtype = torch.float32, scale: float = 20.0
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    x, y = ((torch.randn(n, generator=generator) * scale).to(dtype).to(DEVICE) for _ in range(2))
    return x, y


@reductions
@pytest.mark.parametrize("metric", SCIPY)
def test_agrees_with_scipy(reduction: Reduction, metric: str) -> None:
    for n in (1, 1023, 1025, 2048, 40_001):
        assert error(*vectors(n), metric, reduction) <= 1.2e-7, n


@reductions
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int8], ids=str)
def test_agrees_for_every_dtype(reduction: Reduction, dtype: torch.dtype) -> None:
    for metric in SCIPY:
        limit = 1e-13 if dtype == torch.float64 else 1.2e-7
        assert error(*vectors(10_001, dtype), metric, reduction) <= limit, metric


@given(
    hnp.arrays(
        np.float32, st.tuples(st.just(2), st.integers(1, 200)), elements=st.floats(-1e4, 1e4, width=32)
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_agrees_with_scipy_on_anything_reasonable(pair: np.ndarray[Any, Any]) -> None:
    x, y = (torch.from_numpy(v.copy()).to(DEVICE) for v in pair)
    for metric, definition in SCIPY.items():
        with np.errstate(all="ignore"):
            truth = float(definition(*pair.astype(np.float64)))
        value = float(distance(x, y, metric, REDUCTIONS[2]))
        scale = (
            float(np.abs(np.prod(pair.astype(np.float64), axis=0)).sum()) if metric == "dot" else abs(truth)
        )
        assert (math.isnan(value) and math.isnan(truth)) or abs(value - truth) <= 2e-7 * scale + 1e-15


@reductions
def test_hard_vectors(reduction: Reduction) -> None:
    for offset, scale in ((1e6, 1.0), (0.0, 1e30), (0.0, 1e-30), (0.0, 1e-41)):
        x, y = (v * scale + offset for v in vectors(5_000, scale=1.0))
        assert error(x, y, "l2", reduction) <= 3e-7 + 1e-45 / scale
        assert error(x, y, "l1", reduction) <= 3e-7 + 1e-45 / scale
    for scale in (1e200, 1e-200, 1e-310):
        x, y = (torch.full((5_000,), v * scale, dtype=torch.float64, device=DEVICE) for v in (3, 7))
        truth = float((y - x)[0]) * math.sqrt(5_000)
        assert float(distance(x, y, "l2", reduction)) == pytest.approx(truth, rel=1e-12)


@reductions
def test_empty_zero_nan_and_infinity(reduction: Reduction) -> None:
    empty = torch.empty(0, device=DEVICE)
    assert [float(distance(empty, empty, m, reduction)) for m in ("l2", "sqeuclidean", "l1", "dot")] == [
        0.0
    ] * 4
    assert math.isnan(distance(empty, empty, "cosine", reduction))
    zero, one = torch.zeros(3_000, device=DEVICE), torch.ones(3_000, device=DEVICE)
    assert math.isnan(distance(zero, one, "cosine", reduction))
    assert float(distance(one, one, "cosine", reduction)) == 0.0
    one[2_999] = math.nan
    assert all(math.isnan(distance(zero, one, metric, reduction)) for metric in SCIPY)
    one[2_999] = math.inf
    assert float(distance(zero, one, "l1", reduction)) == math.inf


@reductions
def test_strided_and_unaligned_vectors(reduction: Reduction) -> None:
    x, y = vectors(9_001)
    for a, b in ((x[1:], y[1:]), (x[::2], y[::2]), (x[2::3], y[:-2:3]), (x[:4_000], y[::2][:4_000])):
        assert error(a, b, "cosine", reduction) <= 1.2e-7


@reductions
def test_a_plan_can_be_called_again_and_again(reduction: Reduction) -> None:
    x, y = vectors(20_000)
    call = plan(x, y, "cosine", reduction)
    first = float(call())
    assert [float(call()) for _ in range(3)] == [
        first
    ] * 3  # counters and accumulators are back where they were
    x.zero_()
    assert math.isnan(call())


@pytest.mark.parametrize("reduction", REDUCTIONS[1:], ids=lambda reduction: reduction.name)
def test_streams_give_the_bits_of_vectors_in_memory(reduction: Reduction) -> None:
    x, y = vectors(50_003)
    whole = plan(x, y, "cosine", reduction)().clone()
    sources = TensorSource(x.cpu()), TensorSource(y.cpu())
    piece = 2048 * 2 * 4 * 3 * (2 if DEVICE == "cuda" else 1)  # bytes of the least pieces: three slots
    for budget in (piece, 3 * piece, 1 << 30):
        call = stream(*sources, "cosine", reduction, DEVICE, budget)
        assert torch.equal(call(), whole)
        assert torch.equal(call(), whole)


@reductions
def test_results_of_once_are_each_their_own(reduction: Reduction) -> None:
    x, y = torch.zeros(5_000, device=DEVICE), torch.zeros(5_000, device=DEVICE)
    running = plan(x, y, "l1", reduction).running
    results = []
    for i in range(70):
        x.fill_(i)
        results.append(running.once(x, y))
    assert [float(result) for result in results] == [5_000.0 * i for i in range(70)]


def test_the_tree_has_as_many_levels_as_it_needs() -> None:
    assert levels(1, 4) == [1]
    assert levels(4, 4) == [4]
    assert levels(5, 4) == [5, 2]
    assert levels(4**5 + 1, 4) == [1025, 257, 65, 17, 5, 2]
    assert levels(2**31, 1024) == [2**31, 2**21, 2**11, 2]


def test_without_triton_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsys.distance.language.triton", None)
    x, y = vectors(10)
    with pytest.raises(UserError, match="reduction=single_pass needs Triton, which is not installed"):
        plan(x, y, "l2", "single_pass")


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"tile_bytes": 5000}, "reduction.tile_bytes=5000 must be a power of two"),
        ({"tile_bytes": 64}, "reduction.tile_bytes=64 must be at least 128"),
        ({"warps": 3}, "reduction.warps=3 must be a power of two"),
        ({"tiles": 0}, "reduction.tiles=0 must be at least 1"),
        ({"stages": 0}, "reduction.stages=0 must be at least 1"),
        ({"fan": 3}, "reduction.fan=3 must be a power of two, at least 2"),
    ],
)
def test_bad_knobs(knobs: dict[str, Any], message: str) -> None:
    x, y = vectors(10)
    with pytest.raises(UserError) as caught:
        plan(x, y, "l2", SinglePass(**knobs))
    assert str(caught.value) == message


def test_results_that_were_made_ahead_in_inference_mode_are_ordinary_tensors() -> None:
    x, y = torch.arange(5.0, device=DEVICE), torch.zeros(5, device=DEVICE)
    with torch.inference_mode():
        distance(x, y, "l1", "single_pass")
    result = distance(x, y, "l1", "single_pass")
    assert not result.is_inference()
    result += 1
    assert float(result) == 11
