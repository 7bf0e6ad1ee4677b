"""The distances as torch's own citizens: gradients, transforms, compilers and fake tensors see one operator."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mlsys.distance import cdist, distance
from mlsys.distance.metrics.l1 import L1
from mlsys.distance.operators import KEPT, key_of
from mlsys.distance.reductions.hierarchical import Hierarchical
from mlsys.errors import UserError

METRICS = ("l2", "sqeuclidean", "l1", "cosine", "dot")
TORCHS_OWN = "ignore:`torch.jit.script.*` is deprecated"

pytestmark = pytest.mark.filterwarnings(TORCHS_OWN)


@dataclass(frozen=True)
class Restated(L1):
    """A metric that states no gradient."""

    name: str = "restated"
    definition = L1.definition


def values(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("metric", METRICS)
def test_gradients_are_right_once_and_twice(metric: str) -> None:
    x, y = values(4).requires_grad_(), values(4, seed=1).requires_grad_()
    rows, row = values(2, 4).requires_grad_(), values(1, 4, seed=1).requires_grad_()
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda a, b: distance(a, b, metric), (x, y), fast_mode=True)
        assert check(lambda a, b: distance(a, b, metric, dim=-1), (rows, row), fast_mode=True)


def test_a_metric_that_states_no_gradient_has_that_of_its_definition() -> None:
    metric = Restated()
    x, y = values(3, 6).requires_grad_(), values(3, 6, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: distance(a, b, metric, dim=1), (x, y))
    with pytest.raises(UserError, match="metric=restated states no definition"):
        torch.autograd.grad(distance(x, y, Nameless(), dim=1).sum(), x)


@dataclass(frozen=True)
class Nameless(L1):
    """A metric that states no definition either."""

    name: str = "restated"
    definition: ClassVar[Any] = None


def test_the_gradient_at_equal_points_is_torchs() -> None:
    x = values(3, 4)
    for metric, p in (("l2", 2.0), ("l1", 1.0)):
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        distance(a, x, metric, dim=-1).sum().backward()
        torch.linalg.vector_norm(b - x, p, dim=-1).sum().backward()
        assert a.grad is not None
        assert b.grad is not None
        assert torch.equal(a.grad, b.grad)
        assert a.grad.abs().sum() == 0
    zero = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    distance(zero, x[0], "cosine").backward()
    assert zero.grad is not None
    assert bool(zero.grad.isnan().all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("metric", METRICS)
def test_narrow_elements_have_gradients_of_their_own_dtype(metric: str, dtype: torch.dtype) -> None:
    x, y = values(6, 40).to(dtype).requires_grad_(), values(6, 40, seed=1).to(dtype)
    value = distance(x, y, metric, dim=-1)
    assert value.dtype == torch.float32
    value.sum().backward()
    wide = x.detach().double().requires_grad_()
    distance(wide, y.double(), metric, dim=-1).sum().backward()
    assert x.grad is not None
    assert wide.grad is not None
    assert x.grad.dtype == dtype
    assert torch.allclose(x.grad.double(), wide.grad, rtol=4 * torch.finfo(dtype).eps, atol=1e-6)


def test_only_what_is_asked_for_is_given_and_the_rest_of_the_world_may_be_arrays() -> None:
    x = values(3).requires_grad_()
    value = distance(x, np.ones(3))
    assert value.requires_grad
    value.backward()
    assert x.grad is not None
    with torch.no_grad():
        assert not distance(x, np.ones(3)).requires_grad
    with torch.inference_mode():
        assert float(distance(x, torch.ones(3, dtype=torch.float64))) == float(value)
    parameter = torch.nn.Parameter(values(3))
    distance(parameter, values(3, seed=1), "cosine").backward()
    assert parameter.grad is not None


@pytest.mark.parametrize("metric", METRICS)
def test_torch_func_transforms_it(metric: str) -> None:
    rows, row = values(4, 5), values(5, seed=1)

    def to_row(a: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = distance(a, row, metric)
        return found

    wanted = distance(rows, row[None], metric, dim=-1)
    assert torch.allclose(torch.vmap(to_row)(rows), wanted)
    assert torch.allclose(torch.vmap(to_row, in_dims=1)(rows.T), wanted)
    nested = torch.vmap(torch.vmap(lambda a, b: distance(a, b, metric), (None, 0)), (0, None))
    assert torch.allclose(
        nested(rows, rows[:2]), distance(rows[:, None], rows[None, :2], metric, dim=-1), atol=1e-12
    )
    each = torch.stack([torch.func.grad(to_row)(a) for a in rows])
    assert torch.allclose(torch.vmap(torch.func.grad(to_row))(rows), each)
    assert torch.allclose(torch.func.jacrev(torch.vmap(to_row))(rows).sum(1), each)
    hessian = torch.autograd.functional.hessian(to_row, rows[0])
    assert torch.allclose(torch.func.jacrev(torch.func.jacrev(to_row))(rows[0]), hessian)
    with pytest.raises(UserError, match="has a tangent, and distances have no derivative in forward mode"):
        torch.func.jvp(to_row, (rows[0],), (row,))


def test_fake_tensors_answer_with_a_shape() -> None:
    with FakeTensorMode():
        x, y = torch.empty(3, 8, dtype=torch.float16), torch.empty(3, 8, dtype=torch.float16)
    found = distance(x, y, "cosine", dim=-1)
    assert (tuple(found.shape), found.dtype) == ((3,), torch.float32)
    assert distance(x[0], y[0]).shape == ()


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_torch_finds_the_operators_well_made(metric: str) -> None:
    x, y = values(3, 7).requires_grad_(), values(3, 7, seed=1).requires_grad_()
    torch.library.opcheck(torch.ops.mlsys.distance.default, (x, y, metric))
    torch.library.opcheck(torch.ops.mlsys.distance.default, (x.detach()[0], y.detach()[0], metric))
    flags: tuple[Any, ...] = (metric, True, False)
    torch.library.opcheck(
        torch.ops.mlsys.distance_backward.default, (values(3), x.detach(), y.detach(), *flags, values(3))
    )


COMPILED: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "vectors": lambda x, y: 2 * distance(x[0] * 1, y[0], "l1").reshape(1),
    "rows": lambda x, y: distance(x * 1, y[:1], "cosine", dim=-1) + 1,
    "columns": lambda x, y: distance(x, y * 1, "l2", dim=0),
    "vmap": lambda x, y: torch.vmap(lambda a, b: distance(a, b, "dot"))(x, y * 1),
}


@pytest.mark.parametrize(
    ("call", "backend"),
    [*((call, "aot_eager") for call in COMPILED), pytest.param("rows", "inductor", marks=pytest.mark.slow)],
)
def test_it_is_compiled_as_one_graph_without_a_warning(call: str, backend: str) -> None:
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("torch.compile needs g++ on a CPU")
    x, y = values(6, 40).requires_grad_(), values(6, 40, seed=1).requires_grad_()
    made = COMPILED[call](x, y)
    compiled = torch.compile(COMPILED[call], fullgraph=True, backend=backend)(x, y)
    assert torch.allclose(made, compiled)
    for a, b in zip(*(torch.autograd.grad(found.sum(), (x, y)) for found in (made, compiled)), strict=True):
        assert torch.allclose(a, b)


def test_lengths_that_vary_are_one_graph() -> None:
    compiled = torch.compile(
        lambda a, b: distance(a, b, "l2", dim=-1) * 2, fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for count, n in ((3, 10), (5, 20), (9, 7)):
        x, y = values(count, n), values(count, n, seed=1)
        assert torch.equal(compiled(x, y), distance(x, y, "l2", dim=-1) * 2)


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.bool])
def test_a_compiled_call_refuses_the_dtypes_that_any_call_does(dtype: torch.dtype) -> None:
    rows = torch.ones(2, 3).to(dtype)
    for call in (cdist, partial(distance, dim=1)):
        with pytest.raises(UserError, match="x has dtype"):
            torch.compile(call, backend="aot_eager")(rows, rows)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.ones(6, 9), torch.ones(3, 8)),
        (torch.ones(6, 9), torch.ones(6, 9).double()),
        (torch.ones(6, 9).long(), torch.ones(6, 9).long()),
        (torch.ones(6, 9, 1), torch.ones(6, 9, 1)),
    ],
)
def test_an_operator_reads_nothing_that_is_not_there(x: torch.Tensor, y: torch.Tensor) -> None:
    for operator in (torch.ops.mlsys.distance, torch.ops.mlsys.cdist):
        with pytest.raises(UserError):
            operator(x, y, "l2")
    with pytest.raises(UserError, match="are no pairs of vectors"):
        torch.ops.mlsys.distance(torch.ones(6, 9), torch.ones(3, 9), "l2")


def test_it_is_exported() -> None:
    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = distance(x, y, "cosine", dim=-1)
            return found

    x, y = values(3, 4), values(3, 4, seed=1)
    program = torch.export.export(Module(), (x, y))
    assert torch.equal(program.module()(x, y), distance(x, y, "cosine", dim=-1))


def test_a_metric_object_is_found_again_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsys.distance.operators._others", {})
    assert key_of(L1()) == "l1"
    metric = Restated()
    assert key_of(metric) == key_of(metric) == "restated#0"
    kept = [Restated() for _ in range(KEPT - 1)]
    assert len({key_of(each) for each in kept}) == KEPT - 1
    with pytest.raises(UserError, match="over 256 metric objects were differentiated"):
        key_of(Restated())


def test_a_reduction_that_its_name_would_not_find_again_is_refused() -> None:
    x = values(4).requires_grad_()
    with pytest.raises(UserError, match=r"has no gradient: pass a name, as reduction=hierarchical"):
        distance(x, x, "l2", Hierarchical(tile_bytes=4096, tiles=1, fan=4))
