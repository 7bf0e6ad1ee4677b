"""All pairs against the pairs one by one, by products and from the elements, near-duplicates and odd rows included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import distance as scipy_distance

from mlsys.distance import cdist, distance
from mlsys.distance.cross import gpu, integers
from mlsys.distance.metrics import Metric, get
from mlsys.errors import UserError

METRICS = ("l2", "sqeuclidean", "l1", "cosine", "dot")
Way = Callable[[torch.Tensor, torch.Tensor, Metric, torch.Tensor], None]
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8)

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script.*` is deprecated")


def matrices(queries: int, rows: int, n: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """With a row that is equal, one that is nearly so, and one of zeros."""
    generator = torch.Generator().manual_seed(queries * n)
    x, y = (torch.randn(count, n, generator=generator, dtype=torch.float64) * 20 for count in (queries, rows))
    y[0], y[1], y[2] = x[0], x[1] * (1 + 1e-6 * x[2]), 0
    return x.to(dtype), y.to(dtype)


def close(found: torch.Tensor, wanted: torch.Tensor, metric: str) -> bool:
    wide = wanted.dtype == torch.float64
    rtol = 2e-12 if wide else 4e-7
    atol = {"cosine": 1e-15, "dot": 1e4 * rtol}.get(metric, 0.0)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    return bool(torch.allclose(found, wanted, rtol=rtol, atol=atol, equal_nan=True))


def ways(metric: str, dtype: torch.dtype) -> list[Way]:
    """How a GPU may compute it."""
    found: list[Way] = [gpu.computed, gpu.directly]
    if dtype != torch.float64 and metric in integers.FORMS:
        found.append(integers.computed)
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("metric", METRICS)
def test_all_pairs_are_what_pairs_are(metric: str, dtype: torch.dtype) -> None:
    for shape in ((5, 9, 7), (70, 130, 33)):
        x, y = matrices(*shape, dtype)
        wanted = distance(x[:, None], y[None], metric, dim=-1)
        assert close(cdist(x, y, metric), wanted, metric)
        if len(x) > 64 and dtype not in (torch.float64, torch.float32):
            continue  # Triton's interpreter takes its time
        for way in ways(metric, dtype):
            out = torch.empty_like(wanted)
            way(x, y, get(metric), out)
            assert close(out, wanted, metric)


@pytest.mark.parametrize("metric", ["l2", "sqeuclidean", "l1", "cosine"])
def test_scipy_agrees(metric: str) -> None:
    x, y = (rows.numpy() for rows in matrices(6, 8, 20, torch.float64))
    scipy: Any = scipy_distance
    name = {"l2": "euclidean", "l1": "cityblock"}.get(metric, metric)
    found = cdist(x, y, metric)
    assert type(found) is np.ndarray
    assert np.allclose(found, scipy.cdist(x, y, name), rtol=1e-9, atol=1e-15, equal_nan=True)


def test_odd_numbers_are_what_they_are_in_pairs() -> None:
    x, y = matrices(4, 6, 5, torch.float32)
    x[0, 1], x[1, 2], y[3, 4] = torch.nan, torch.inf, -torch.inf
    for metric in ("l2", "sqeuclidean", "l1", "cosine"):
        wanted = distance(x[:, None], y[None], metric, dim=-1)
        assert close(cdist(x, y, metric), wanted, metric), metric
        out = torch.empty_like(wanted)
        gpu.computed(x, y, get(metric), out)
        assert close(out, wanted, metric), metric
    tiny, huge = (
        torch.full((2, 3), 1e-200, dtype=torch.float64),
        torch.full((2, 3), 1e200, dtype=torch.float64),
    )
    assert cdist(tiny, -tiny)[0, 0] == pytest.approx(12**0.5 * 1e-200)
    assert cdist(huge, -huge)[0, 0] == pytest.approx(12**0.5 * 1e200)


def test_strides_and_empty_shapes() -> None:
    x, y = matrices(6, 8, 10, torch.float32)
    for metric in METRICS:
        wanted = cdist(x[:, ::2].contiguous(), y[::2].contiguous()[:, ::2].contiguous(), metric)
        assert close(cdist(x[:, ::2], y[::2, ::2], metric), wanted, metric)
        assert close(cdist(x.T.contiguous().T, y, metric), cdist(x, y, metric), metric)
    assert cdist(x[:0], y).shape == (0, 8)
    assert cdist(x[:, :0], y[:, :0]).tolist() == [[0.0] * 8] * 6


@pytest.mark.parametrize("metric", METRICS)
def test_gradients_are_right_once_and_twice(metric: str) -> None:
    x, y = (rows.requires_grad_() for rows in matrices(3, 4, 5, torch.float64))
    x, y = (x.detach()[1:].requires_grad_(), y.detach()[-1:].requires_grad_())
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda a, b: cdist(a, b, metric), (x, y), fast_mode=True)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("queries", "rows", "n"), [(0, 4, 3), (4, 0, 3), (4, 3, 0)])
def test_the_gradient_of_nothing_is_nothing(metric: str, queries: int, rows: int, n: int) -> None:
    x, y = torch.ones(queries, n, requires_grad=True), torch.ones(rows, n, requires_grad=True)
    cdist(x, y, metric).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.shape, y.grad.shape) == (x.shape, y.shape)
    assert not x.grad.any()
    assert not y.grad.any()


@pytest.mark.parametrize("apart", [1e-6, 1e-9, 1e-12])
def test_the_gradient_of_near_duplicates_keeps_float64s_digits(apart: float) -> None:
    generator = torch.Generator().manual_seed(3)
    x, step = torch.randn(2, 6, 20, generator=generator, dtype=torch.float64)
    y = x + apart * step
    x.requires_grad_()
    wanted = ((x - y) / (x - y).norm(dim=1, keepdim=True)).detach()
    (alone,) = torch.autograd.grad(cdist(x, y).diagonal().sum(), x)
    assert torch.allclose(alone, wanted, rtol=0, atol=1e-9)
    (among,) = torch.autograd.grad(cdist(x, y).sum(), x)
    (pairs,) = torch.autograd.grad(distance(x[:, None], y, dim=-1).sum(), x)
    assert torch.allclose(among, pairs, rtol=0, atol=1e-9)


def test_the_gradient_of_equal_rows_is_zero() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    for metric in ("l2", "l1"):
        cdist(x, x.detach(), metric).diagonal().sum().backward()
        assert x.grad is not None
        assert not x.grad.any()


@pytest.mark.parametrize("metric", ["l2", "l1"])
def test_torch_sees_one_operator(metric: str) -> None:
    x, y = torch.randn(3, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    batch = torch.stack([x, x + 1])
    assert torch.allclose(torch.vmap(lambda a: cdist(a, y, metric))(batch)[1], cdist(x + 1, y, metric))
    wanted = torch.func.grad(lambda a: cdist(a, y, metric).sum())(x)
    found = torch.vmap(torch.func.grad(lambda a: cdist(a, y, metric).sum()))(batch)
    assert torch.allclose(found[0], wanted)
    torch.library.opcheck(
        torch.ops.mlsys.cdist.default, (x.requires_grad_(), y.clone().requires_grad_(), metric)
    )


def test_it_is_compiled_as_one_graph() -> None:
    x, y = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)

    def nearest(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = cdist(a, b, "cosine").amin(1).sum()
        return found

    made, compiled = nearest(x, y), torch.compile(nearest, fullgraph=True, backend="aot_eager")(x, y)
    assert torch.allclose(made, compiled)
    for a, b in zip(*(torch.autograd.grad(value, (x, y)) for value in (made, compiled)), strict=True):
        assert torch.allclose(a, b)


@pytest.mark.parametrize(
    ("x", "y", "metric", "message"),
    [
        (torch.ones(3), torch.ones(2, 3), "l2", r"x must be 2-D, rows of vectors, not of shape \(3,\)"),
        (torch.ones(2, 4), torch.ones(2, 3), "l2", "x has rows of 4 elements and y of 3"),
        (torch.ones(2, 3), torch.ones(2, 3).half(), "l2", "x is float32 and y is float16"),
        (torch.ones(2, 3), torch.ones(2, 3), "hamming", "metric=hamming is none of"),
        (torch.ones(2, 3).long(), torch.ones(2, 3).long(), "l2", "x has dtype int64"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(x: Any, y: Any, metric: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        cdist(x, y, metric)
