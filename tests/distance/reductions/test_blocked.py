"""The CPU's reduction: the same bits for any number of threads, any pieces, any place in memory."""

from __future__ import annotations

from collections.abc import Callable, Sized
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from mlsys.distance import distance, metrics, plan, reference
from mlsys.distance.metrics import get
from mlsys.distance.reductions import Shape, blocked
from mlsys.distance.reductions.blocked import BLOCK, Blocked
from mlsys.distance.source import TensorSource
from mlsys.errors import UserError

N = 5 * BLOCK + 12_345


@pytest.fixture(params=["compiled", "numpy"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test with the compiled loop and without, on several threads."""
    if request.param == "compiled":
        pytest.importorskip("numba")
    kept = import_module("mlsys.distance.pair")._kept
    kept.running, kept.at = {}, {}  # those of the other way
    monkeypatch.setattr(blocked, "ALONE", 1)
    monkeypatch.setattr(blocked, "COMPILED_FROM", 0 if request.param == "compiled" else 1 << 62)


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    x, y = (torch.randn(N, generator=generator) for _ in range(2))
    return x, y


def test_threads_do_not_change_the_bits(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    before = torch.get_num_threads()
    try:
        for metric in metrics.names():
            values: set[float] = set()
            for threads in (1, 2, 5):
                torch.set_num_threads(threads)
                values.update(float(plan(*pair, metric)()) for _ in range(3))
                assert torch.get_num_threads() == threads  # the pool leaves torch's own threads alone
            assert len(values) == 1, metric
    finally:
        torch.set_num_threads(before)


def test_one_thread_alone_gives_the_same_bits(
    pair: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    for vectors in (pair, [vector.double() for vector in pair], [vector.bfloat16() for vector in pair]):
        spread = [plan(vectors[0], vectors[1], metric)() for metric in metrics.names()]
        with monkeypatch.context() as patch:
            patch.setattr(blocked, "ALONE", 100)
            alone = [plan(vectors[0], vectors[1], metric)() for metric in metrics.names()]
        assert torch.equal(torch.stack(spread), torch.stack(alone))


def test_the_place_in_memory_does_not_change_the_bits(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    for metric in metrics.names():
        values = set()
        for shift in range(0, 20, 3):
            moved = [torch.empty(N + shift)[shift:].copy_(vector) for vector in pair]
            values.add(float(plan(moved[0], moved[1], metric)()))
        assert len(values) == 1, metric


def test_pieces_do_not_change_the_bits(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = pair
    for metric in metrics.names():
        whole = plan(x, y, metric)()
        for piece in (BLOCK, 2 * BLOCK, 4 * BLOCK):
            running = Blocked().start(Shape(N, x.dtype, x.device), get(metric))
            for first in range(0, N, piece):
                running.add(x[first : first + piece], y[first : first + piece], first)
            assert torch.equal(running.finish(), whole)


def test_where_the_elements_lie_does_not_change_the_bits(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    for metric in metrics.names():
        whole = plan(*pair, metric)()
        spaced = [torch.stack((vector, vector), 1)[:, 0] for vector in pair]
        assert torch.equal(plan(spaced[0], spaced[1], metric)(), whole)
        assert torch.equal(plan(pair[0].numpy(), pair[1].numpy(), metric)(), whole)


def test_the_error_does_not_grow_with_n() -> None:
    x, y = (torch.rand(4_000_000, generator=torch.Generator().manual_seed(i)) for i in range(2))
    for metric in metrics.names():
        for n in (40_000, 4_000_000):
            a, b = x[:n], y[:n]
            truth = float(plan(a.double(), b.double(), metric)())
            assert float(plan(a, b, metric)()) == pytest.approx(truth, rel=1.5e-7), (metric, n)


def test_narrow_types_take_the_same_way() -> None:
    x, y = (torch.randn(300_000, generator=torch.Generator().manual_seed(i)) for i in range(2))
    for dtype in (torch.bfloat16, torch.float16, torch.int8):
        a, b = (10 * x).to(dtype), (10 * y).to(dtype)
        assert torch.equal(plan(a, b, "cosine")(), plan(a.float(), b.float(), "cosine")())


def test_a_float32_row_out_of_range_is_summed_in_float64(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = (vector.clone() for vector in pair)
    x[BLOCK : BLOCK + 100] = 3e25  # their squares overflow float32
    truth = np.linalg.norm((x.double() - y.double()).numpy())
    assert float(plan(x, y, "l2")()) == pytest.approx(truth, rel=1e-7)


def test_nearly_parallel_vectors_keep_their_angle() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal(100_000).astype(np.float32)
    y = (x + 1e-3 * random.standard_normal(100_000)).astype(np.float32)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    truth = float(plan(a.double(), b.double(), "cosine")())
    assert float(plan(a, b, "cosine")()) == pytest.approx(truth, rel=1e-6)  # of 5e-7


def test_blocked_is_for_the_cpu() -> None:
    with pytest.raises(UserError, match="reduction=blocked runs on the CPU, not on device=meta"):
        Blocked().start(Shape(10, torch.float32, torch.device("meta")), get("l2"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8], ids=str)
@pytest.mark.parametrize("n", [200, blocked.SHORT, 2 * BLOCK])
def test_sums_are_those_of_float64(dtype: torch.dtype, n: int) -> None:
    """Of differences in the elements' own precision at least, as on a GPU."""
    x, y = ((20 * torch.randn(n)).to(dtype) for _ in range(2))
    for metric in ("l2", "l1", "cosine", "dot"):
        running = Blocked().start(Shape(n, dtype, x.device), get(metric))
        running.add(x, y, 0)
        running.finish()
        wide = Blocked().start(Shape(n, torch.float64, x.device), get(metric))
        a, b = x.double(), y.double()
        if metric in ("l2", "l1"):
            a, b = (x.float() - y.float()).double(), torch.zeros(n, dtype=torch.float64)
        wide.add(a, b, 0)
        wide.finish()
        exact = wide.sums()[: len(running.sums())].numpy()
        rounding = 1e-14 if metric in ("cosine", "dot") or n > blocked.COMPILED_FROM else 6e-8
        np.testing.assert_allclose(running.sums().numpy(), exact, rtol=rounding, atol=1e-12 * n)


Array = np.ndarray[Any, Any]
N_HARD = 3 * BLOCK + 99
HARD: dict[str, Callable[[Array, Array], Array]] = {
    "nearly parallel": lambda x, noise: x * (1 + 1e-3 * noise),
    "identical": lambda x, noise: x,
    "both zero": lambda x, noise: 0 * x,
    "a nan in each row": lambda x, noise: np.where(np.arange(len(x)) % 1000, noise, np.nan),
    "an infinity in each row": lambda x, noise: np.where(np.arange(len(x)) % 1000, noise, np.inf),
}


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e25])
@pytest.mark.parametrize("hard", HARD)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hard_vectors_are_summed_once_and_are_as_exact(hard: str, scale: float, dtype: type) -> None:
    """Summing a row a second time took up to 30 times as long."""
    x, noise = np.random.default_rng(1).standard_normal((2, N_HARD))
    y: Array = (scale * HARD[hard](x, noise)).astype(dtype)
    a = torch.from_numpy((x * scale).astype(dtype) if hard != "both zero" else y)
    b = torch.from_numpy(y)
    for name in ("l2", "l1", "cosine", "dot"):
        running = Blocked().start(Shape(N_HARD, a.dtype, a.device), get(name))
        seen = counted(running)
        running.add(a, b, 0)
        assert sum(seen) == N_HARD
        truth, value = reference(TensorSource(a), TensorSource(b), name), float(running.finish())
        limit = 1e-9 if dtype is np.float64 else 2e-7
        assert truth.relative_error(value) <= limit or (value == np.inf and truth.value > blocked.LARGEST), (
            name
        )


def counted(running: Any) -> list[int]:
    """How many elements the loop, or NumPy, is given."""
    seen: list[int] = []
    if running._loop is not None:
        loop = running._loop

        def counted_loop(x: Sized, y: Sized, out: object) -> None:
            seen.append(len(x))
            loop(x, y, out)

        running._loop = counted_loop
    else:
        take = running._numpy

        def counted_numpy(x: Sized, y: Sized, own: object, out: object) -> None:
            seen.append(len(x))
            take(x, y, own, out)

        running._numpy = counted_numpy
    return seen


@pytest.mark.parametrize("metric", ["l2", "l1", "cosine", "dot"])
def test_blas_with_threads_of_its_own_gives_the_same_bits(metric: str) -> None:
    """OpenBLAS splits an inner product of more than 10,000 elements over its threads."""
    for n in (8_193, 20_000, blocked.SHORT, blocked.SHORT + 1):
        generator = torch.Generator().manual_seed(n)
        x, y = (torch.randn(n, generator=generator, dtype=torch.float64) for _ in range(2))
        found = set()
        for threads in (1, 2, 3):
            with threadpool_limits(threads, user_api="blas"):
                found.add(float(plan(x, y, metric)()))
        assert len(found) == 1, n


@pytest.mark.parametrize("metric", ["l2", "l1", "cosine", "dot"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_way_to_a_distance_has_the_same_bits(metric: str, dtype: torch.dtype) -> None:
    """The thin ways by an address, from the second call on, against the plan of a strided copy."""
    for n in (3, 63, 64, 1000, 8192, 8193, 100_000):
        generator = torch.Generator().manual_seed(n)
        x, y = (torch.randn(n, generator=generator, dtype=dtype) for _ in range(2))
        spaced = [torch.stack((vector, vector), 1)[:, 0] for vector in (x, y)]
        expected = float(plan(spaced[0], spaced[1], metric)())
        read_only = [vector.numpy().copy() for vector in (x, y)]
        for vector in read_only:
            vector.flags.writeable = False
        for _ in range(3):
            assert float(distance(x, y, metric)) == expected, n
            assert distance(x.numpy(), y.numpy(), metric) == expected, n
            assert distance(read_only[0], read_only[1], metric) == expected, n
            assert distance(x.numpy(), read_only[1], metric) == expected, n
            assert distance(x.numpy()[::-1], y.numpy()[::-1].copy(), metric) == pytest.approx(expected)


def test_the_thin_way_is_not_taken_by_what_only_looks_alike() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 1024)).astype(np.float32)
    value = distance(x, y)
    assert distance(x, y) == value
    assert distance(x.astype(">f4"), y) == value
    assert distance(x, y.astype(">f4")) == value
    for a, b, message in (
        (x.reshape(32, 32), y.reshape(32, 32), "1-D"),
        (x, y[:-1], "as many in both"),
        (x, y.astype(np.float64), "one dtype"),
    ):
        with pytest.raises(UserError, match=message):
            distance(a, b)
        with pytest.raises(UserError, match=message):
            distance(torch.from_numpy(a), torch.from_numpy(b))


def test_a_value_beyond_float32_is_infinite_without_a_warning() -> None:
    x = np.full(1000, 1e25, np.float32)
    assert [distance(x, 0 * x, "sqeuclidean") for _ in range(2)] == [np.inf] * 2
    assert distance(x, -x, "dot") == -np.inf
