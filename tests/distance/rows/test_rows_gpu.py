"""What only a GPU can show of rows and all pairs: real compilation, graphs and streams, many and long rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mlsys.distance import cdist, distance

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:`torch.jit.script.*` is deprecated")]
METRICS = ("l2", "sqeuclidean", "l1", "cosine", "dot")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8)
SHAPES = ((1, 1), (3, 7), (5, 1000), (2, 3_000_001), (100_003, 16), (4, 3000), (1000, 384), (0, 5), (3, 0))


def pair(count: int, n: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator("cuda").manual_seed(count + n)
    x, y = (torch.randn(count, n, generator=generator, device="cuda") * 20 for _ in range(2))
    return x.to(dtype), y.to(dtype)


def close(found: torch.Tensor, wanted: torch.Tensor, metric: str, scale: float = 0.0) -> bool:
    rtol = 2e-12 if wanted.dtype == torch.float64 else 4e-7
    atol = {"cosine": 1e-14, "dot": scale * rtol}.get(metric, 0.0)
    return bool(torch.allclose(found.cpu(), wanted, rtol=rtol, atol=atol, equal_nan=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("metric", METRICS)
def test_rows_are_what_the_cpu_says(metric: str, dtype: torch.dtype) -> None:
    for count, n in SHAPES:
        x, y = pair(count, n, dtype)
        scale = float((x.double() * y.double()).abs().sum(1).max()) if count * n else 0.0
        assert close(
            distance(x, y, metric, dim=-1), distance(x.cpu(), y.cpu(), metric, dim=-1), metric, scale
        ), n
        if count:
            found = distance(x, y[0], metric, dim=-1)
            assert close(found, distance(x.cpu(), y[0].cpu(), metric, dim=-1), metric, scale), n


def test_strides_of_every_kind() -> None:
    x, y = pair(500, 96)
    for form in (
        x.T.contiguous().T,
        x.repeat_interleave(2, 1)[:, ::2],
        torch.nn.functional.pad(x, (3, 2))[:, 3:-2],
    ):
        assert close(distance(form, y, "l2", dim=1), distance(x.cpu(), y.cpu(), "l2", dim=1), "l2")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(1000, 16), (300, 384), (40, 5000), (3, 100_001)], ids=str)
def test_the_kernels_of_the_gradient_are_right(metric: str, shape: tuple[int, int]) -> None:
    x, y = (rows.requires_grad_() for rows in pair(*shape))
    wide = [rows.detach().double().cpu().requires_grad_() for rows in (x, y)]
    distance(x, y, metric, dim=-1).sum().backward()
    distance(wide[0], wide[1], metric, dim=-1).sum().backward()
    for found, wanted in zip((x.grad, y.grad), (wide[0].grad, wide[1].grad), strict=True):
        assert found is not None
        assert wanted is not None
        assert torch.allclose(found.double().cpu(), wanted, rtol=1e-5, atol=1e-6 * float(wanted.abs().max()))


def test_it_runs_inside_a_graph_and_on_the_current_stream() -> None:
    x, y = pair(64, 300_000)
    calls: tuple[Callable[[], torch.Tensor], ...] = (
        lambda: distance(x, y, "cosine", dim=-1),
        lambda: distance(x[0], y[0], "l2"),
        lambda: cdist(x[:, :384], y[:, :384], "l1"),
        lambda: cdist(x[:, :384], y[:, :384], "l2"),
    )
    for call in calls:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                wanted = call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = call()
        x.neg_()
        graph.replay()
        assert torch.equal(found, call())
        x.neg_()
        assert torch.equal(wanted, call())


def test_it_is_compiled_with_its_gradient() -> None:
    x, y = (rows.requires_grad_() for rows in pair(100, 384))
    calls: tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], ...] = (
        lambda a, b: distance(a * 2, b, "cosine", dim=-1).sum(),
        lambda a, b: distance(a[0] * 2, b[0], "l2"),
        lambda a, b: cdist(a * 2, b, "l2").sum(),
    )
    for call in calls:
        made, compiled = call(x, y), torch.compile(call, fullgraph=True)(x, y)
        assert torch.allclose(made, compiled)
        for a, b in zip(*(torch.autograd.grad(value, (x, y)) for value in (made, compiled)), strict=True):
            assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("metric", METRICS)
def test_all_pairs_are_what_the_cpu_says(metric: str, dtype: torch.dtype) -> None:
    for queries, rows, n in ((5, 9, 7), (300, 1000, 384), (65, 129, 33)):
        x, y = (torch.randn(count, n, device="cuda") for count in (queries, rows))
        y[: queries // 2] = x[: queries // 2] * (1 + 1e-4 * x[: queries // 2])
        y[-1] = x[-1]
        x, y = (x * 20).to(dtype), (y * 20).to(dtype)
        scale = 400.0 * n
        assert close(cdist(x, y, metric), cdist(x.cpu(), y.cpu(), metric), metric, scale), (queries, rows, n)


@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean", "cosine"])
def test_all_pairs_of_clusters_far_from_zero(metric: str) -> None:
    centers = torch.randn(5, 384, device="cuda") + 100
    for spread in (0.1, 1e-3):
        x, y = (
            centers.repeat(count, 1) + spread * torch.randn(5 * count, 384, device="cuda")
            for count in (30, 40)
        )
        assert close(cdist(x, y, metric), cdist(x.cpu(), y.cpu(), metric), metric), spread
    for n in (7999, 9000):
        x, y = (torch.randn(count, n, device="cuda") for count in (3, 70))
        assert close(cdist(x, y, metric), cdist(x.cpu(), y.cpu(), metric), metric), n


def test_the_gradient_of_all_pairs() -> None:
    for metric in METRICS:
        x, y = (torch.randn(count, 48, device="cuda").requires_grad_() for count in (70, 90))
        wide = [rows.detach().double().cpu().requires_grad_() for rows in (x, y)]
        cdist(x, y, metric).sum().backward()
        cdist(wide[0], wide[1], metric).sum().backward()
        assert x.grad is not None
        assert wide[0].grad is not None
        assert torch.allclose(x.grad.double().cpu(), wide[0].grad, rtol=1e-4, atol=1e-5)
