"""The library's front: definitions against scipy, hard vectors, and one clear line for what cannot be."""

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

from mlsys.distance import distance, plan
from mlsys.errors import UserError

LENGTHS = (1, 2, 1023, 1025, 8192, 2**17 - 1, 2**17 + 1, 2**20 - 1, 2**20 + 1)


@pytest.mark.parametrize("metric", SCIPY)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int8"])
def test_agrees_with_scipy_at_every_awkward_length(metric: str, dtype: str) -> None:
    generator = torch.Generator().manual_seed(1)
    for n in LENGTHS if dtype == "float32" else LENGTHS[:6]:
        x, y = ((torch.randn(n, generator=generator) * 20).to(getattr(torch, dtype)) for _ in range(2))
        value = distance(x, y, metric)
        truth, scale = peer(metric, x.double(), y.double())
        assert value.dtype == (torch.float64 if dtype == "float64" else torch.float32)
        assert abs(float(value) - truth) / scale <= (1e-13 if dtype == "float64" else 5e-7), n


@pytest.mark.slow
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.just(2), st.integers(1, 300)),
        elements=st.integers(-(10**9), 10**9).map(lambda thousandths: thousandths / 1000),
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_agrees_with_scipy_on_anything_reasonable(pair: np.ndarray[Any, Any]) -> None:
    x, y = pair
    for metric in SCIPY:
        with np.errstate(all="ignore"):
            truth, scale = peer(metric, x, y)
        value = float(distance(x, y, metric))
        assert (math.isnan(value) and math.isnan(truth)) or abs(value - truth) <= 1e-12 * max(scale, 1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("offset", "spread"), [(1e6, 1.0), (0.0, 1e30), (0.0, 1e-30), (1.0, 1e-7), (0.0, 1e-41)], ids=str
)
def test_vectors_that_break_naive_code(dtype: type, offset: float, spread: float) -> None:
    random = np.random.default_rng(2)
    x, y = (offset + spread * random.standard_normal((2, 50_001))).astype(dtype)
    for metric in ("l2", "l1", "cosine"):
        truth, scale = peer(metric, x, y)
        rounding = 1e-14 if metric == "cosine" else 2e-45  # of 1 − cos in float64; of subnormal float32
        assert abs(float(distance(x, y, metric)) - truth) <= 3e-7 * scale + rounding, metric
    with np.errstate(over="ignore"):
        assert distance(x, y, "sqeuclidean") == pytest.approx(dtype(peer("sqeuclidean", x, y)[0]), rel=3e-7)


@pytest.mark.parametrize("scale", [1e200, 1e-200, 1e-310, 1e300])
def test_euclidean_of_float64_keeps_its_range(scale: float) -> None:
    x, y = np.full(40_000, 3 * scale), np.full(40_000, 7 * scale)
    assert distance(x, y, "l2") == pytest.approx((y - x)[0] * 200, rel=1e-12)


def test_one_large_difference_among_small_ones_counts_alone() -> None:
    x, y = np.full(40_000, 1e-170), np.zeros(40_000)
    assert distance(x, y, "l2") == pytest.approx(2e-168, rel=1e-12)
    x[7] = 1e190
    assert distance(x, y, "l2") == pytest.approx(1e190, rel=1e-12)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6 + 0.1])
def test_equal_terms_do_not_drift(value: float) -> None:
    x, y = np.full(5_000_000, value, np.float32), np.zeros(5_000_000, np.float32)
    for metric in ("l1", "sqeuclidean"):
        truth, _ = peer(metric, x, y)
        assert abs(distance(x, y, metric) - truth) / truth < 2e-6, metric


def test_empty_and_zero_vectors_have_scipys_answers() -> None:
    empty = np.zeros(0, np.float32)
    assert [distance(empty, empty, m) for m in ("l2", "sqeuclidean", "l1", "dot")] == [0.0] * 4
    assert math.isnan(distance(empty, empty, "cosine"))
    zero, one = np.zeros(10), np.ones(10)
    assert math.isnan(distance(zero, one, "cosine"))
    assert math.isnan(distance(zero, zero, "cosine"))
    assert distance(one, -one, "cosine") == pytest.approx(2.0)
    assert distance(one, one, "cosine") == 0.0


def test_nan_and_infinity_propagate() -> None:
    x, y = torch.ones(20_000), torch.zeros(20_000)
    x[19_000] = math.nan
    assert all(math.isnan(distance(x, y, metric)) for metric in SCIPY)
    x[19_000] = math.inf
    assert [float(distance(x, y, m)) for m in ("l2", "l1", "sqeuclidean")] == [math.inf] * 3
    assert math.isnan(distance(x, y, "dot"))


def test_strided_reversed_read_only_and_foreign_vectors() -> None:
    random = np.random.default_rng(3)
    x, y = (random.standard_normal(60_000).astype(np.float32) for _ in range(2))
    for view in (slice(None, None, 3), slice(1, None, 2), slice(None, None, -2)):
        assert distance(x[view], y[view], "l1") == distance(x[view].copy(), y[view].copy(), "l1")
        assert distance(x[view], y[view], "cosine") == distance(x[view].copy(), y[view].copy(), "cosine")
    whole = distance(x, y, "l2")
    x.flags.writeable = False
    assert distance(x, y, "l2") == whole
    assert distance(x.astype(">f4"), y, "l2") == whole


def test_arrays_give_scalars_and_tensors_give_tensors() -> None:
    x = np.ones(3, np.float32)
    assert type(distance(x, x, "dot")) is np.float32
    assert type(distance(x.astype(np.float64), x.astype(np.float64), "dot")) is np.float64
    result = distance(torch.from_numpy(x), torch.from_numpy(x), "dot")
    assert (type(result), result.shape) == (torch.Tensor, ())


def test_a_plan_reads_its_buffers_anew() -> None:
    x, y = torch.ones(10_000), torch.zeros(10_000)
    call = plan(x, y, "l1")
    assert (call.reduction, call.device.type, float(call())) == ("blocked", "cpu", 10_000.0)
    x.mul_(2)
    assert float(call()) == 20_000.0


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.ones(2, 2), torch.ones(2, 2), "x must be 1-D, not of shape (2, 2)"),
        (torch.ones(3), torch.ones(4), "x has 3 elements and y has 4: a distance needs as many in both"),
        (torch.ones(3), torch.ones(3).double(), "x is float32 and y is float64: a distance needs one dtype"),
        (torch.ones(3, dtype=torch.int32), torch.ones(3), "x has dtype int32; distances take float64,"),
        (np.ones(3, "c8"), np.ones(3, "c8"), "x has dtype complex64; distances take float64,"),
        (None, [1.0], "x must be a torch tensor, a numpy array or what numpy makes one of, not NoneType"),
    ],
)
def test_bad_vectors_get_one_clear_line(x: Any, y: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        distance(x, y)
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, ValueError)


def test_bad_names_get_the_names_there_are() -> None:
    x = torch.ones(3)
    with pytest.raises(UserError, match="metric=l3 is none of cosine, dot, l1, l2, sqeuclidean"):
        distance(x, x, "l3")
    with pytest.raises(
        UserError, match="reduction=tree is none of atomic, auto, blocked, hierarchical, single_pass"
    ):
        distance(x, x, "l2", "tree")
    with pytest.raises(UserError, match="reduction=None must be a name or a Reduction"):
        distance(x, x, "l2", None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"metric=\['l2'\] must be a name or a Metric"):
        distance(x, x, ["l2"])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="graph=True needs a GPU, not device=cpu"):
        plan(x, x, graph=True)


def test_a_gpu_reduction_on_a_cpu_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsys.distance.language.INTERPRETED", False)
    x = torch.ones(3)
    with pytest.raises(UserError) as caught:
        plan(x, x, "l2", "atomic")
    assert str(caught.value) == "reduction=atomic needs a GPU; on device=cpu use reduction=blocked or auto"
