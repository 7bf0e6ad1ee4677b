"""What only a GPU can show: real compilation, memory ordering, launches past Triton's own, overlap, 64-bit offsets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from definitions import SCIPY

from mlsys.distance import distance, plan, reference, stream
from mlsys.distance.reductions.hierarchical import Hierarchical
from mlsys.distance.source import TensorSource

pytestmark = pytest.mark.gpu
TRITON = ("atomic", "hierarchical", "single_pass")
METRICS = ("l2", "sqeuclidean", "l1", "cosine", "dot")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8)


def vectors(n: int, dtype: torch.dtype, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator("cuda").manual_seed(n)
    if dtype == torch.int8:
        x, y = (torch.randint(-127, 128, (n,), generator=generator, device="cuda") for _ in range(2))
    else:
        x, y = (torch.randn(n, generator=generator, device="cuda") * scale for _ in range(2))
    return x.to(dtype), y.to(dtype)


def error(value: torch.Tensor, x: torch.Tensor, y: torch.Tensor, metric: str) -> float:
    truth = reference(TensorSource(x.cpu()), TensorSource(y.cpu()), metric)
    return truth.relative_error(float(value))


@pytest.mark.parametrize("reduction", TRITON)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_metric_reduction_and_dtype_is_right(reduction: str, metric: str, dtype: torch.dtype) -> None:
    for n in (1, 1023, 1025, 2**20 + 1):
        x, y = vectors(n, dtype)
        value = distance(x, y, metric, reduction)
        assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert error(value, x, y, metric) <= (1e-13 if dtype == torch.float64 else 1.2e-7), n


@pytest.mark.parametrize("reduction", TRITON)
def test_views_of_any_alignment_and_stride(reduction: str) -> None:
    x, y = vectors(300_007, torch.float32)
    for a, b in ((x[1:], y[1:]), (x[3:], y[:-3]), (x[::2], y[::2]), (x[5::3], y[2:-3:3])):
        for metric in ("l1", "cosine"):
            assert error(distance(a, b, metric, reduction), a, b, metric) <= 1.2e-7


@pytest.mark.parametrize("reduction", TRITON)
def test_empty_and_zero_vectors_are_scipys(reduction: str) -> None:
    empty = torch.empty(0, device="cuda")
    assert [float(distance(empty, empty, m, reduction)) for m in ("l2", "sqeuclidean", "l1", "dot")] == [
        0.0
    ] * 4
    assert math.isnan(distance(empty, empty, "cosine", reduction))
    zero, one = torch.zeros(5000, device="cuda"), torch.ones(5000, device="cuda")
    assert math.isnan(distance(zero, one, "cosine", reduction))
    assert float(distance(one, one, "cosine", reduction)) == 0.0
    one[4321] = math.nan
    assert all(math.isnan(distance(zero, one, m, reduction)) for m in METRICS)
    one[4321] = math.inf
    assert float(distance(zero, one, "l2", reduction)) == math.inf


@pytest.mark.parametrize("reduction", TRITON)
def test_euclidean_keeps_its_range(reduction: str) -> None:
    for dtype, scales in ((torch.float32, (1e30, 1e-30, 1e-43)), (torch.float64, (1e200, 1e-200, 1e-310))):
        for scale in scales:
            x = torch.full((10_000,), 3 * scale, dtype=dtype, device="cuda")
            y = torch.full((10_000,), 7 * scale, dtype=dtype, device="cuda")
            truth = float((y - x)[0]) * 100
            assert float(distance(x, y, "l2", reduction)) == pytest.approx(truth, rel=2e-7)


@pytest.mark.parametrize("reduction", ["hierarchical", "single_pass"])
def test_a_hundred_runs_are_bitwise_equal(reduction: str) -> None:
    x, y = vectors(30_000_001, torch.float32)
    for metric in ("l2", "cosine"):
        call = plan(x, y, metric, reduction)
        first = call().clone()
        others = torch.stack([call().clone() for _ in range(99)])
        assert bool((others == first).all())


def test_the_counter_survives_many_small_calls_on_two_streams() -> None:
    x, y = vectors(200_000, torch.float32)
    truth = float(distance(x, y, "l2", "single_pass"))
    side = torch.cuda.Stream()
    results = []
    for _ in range(300):
        results.append(distance(x, y, "l2", "single_pass"))
        with torch.cuda.stream(side):
            results.append(distance(x, y, "l2", "single_pass"))
    torch.cuda.synchronize()
    assert {float(result) for result in results} == {truth}


def test_a_graph_gives_what_the_buffers_hold_now() -> None:
    x, y = vectors(100_003, torch.float32)
    for reduction in TRITON:
        call = plan(x, y, "cosine", reduction, graph=True)
        assert error(call(), x, y, "cosine") <= 1.2e-7
        x.copy_(torch.randn_like(x))
        assert error(call(), x, y, "cosine") <= 1.2e-7


def test_a_tree_of_many_levels() -> None:
    x, y = vectors(3_000_001, torch.float32)
    deep = Hierarchical(tile_bytes=4096, tiles=1, fan=4)
    assert error(distance(x, y, "l1", deep), x, y, "l1") <= 1.2e-7


@pytest.mark.parametrize("reduction", TRITON)
def test_more_elements_than_an_int32_counts(reduction: str) -> None:
    n = 2**31 + 17
    x = torch.ones(n, dtype=torch.int8, device="cuda")
    y = torch.zeros(n, dtype=torch.int8, device="cuda")
    y[-1] = 5  # |1 - 5| = 4: the last element counts
    assert float(distance(x.view(-1), y, "l1", reduction)) == np.float32(n - 1 + 4)


@pytest.mark.parametrize("reduction", ["hierarchical", "single_pass"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_streams_give_the_bits_of_vectors_in_memory(reduction: str, dtype: torch.dtype) -> None:
    x, y = vectors(40_000_013, dtype)
    sources = TensorSource(x.cpu()), TensorSource(y.cpu())
    for metric in ("l2", "cosine"):
        whole = plan(x, y, metric, reduction)().clone()
        for budget in (8 << 20, 50 << 20, 1 << 30):
            call = stream(*sources, metric, reduction, "cuda", budget)
            assert call.device_bytes + call.pinned_bytes <= budget
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            assert [torch.equal(call(), whole) for _ in range(3)] == [True] * 3
            assert torch.cuda.max_memory_allocated() - before <= budget


def test_scipy_agrees() -> None:
    x, y = vectors(99_991, torch.float64)
    a, b = x.cpu().numpy(), y.cpu().numpy()
    for metric in ("l2", "l1", "cosine"):
        assert float(distance(x, y, metric)) == pytest.approx(SCIPY[metric](a, b), rel=1e-13)
