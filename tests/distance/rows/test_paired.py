"""Rows against the same by vectors, in every shape, stride and dtype, on the CPU and by the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from mlsys.distance import distance
from mlsys.distance.metrics import Metric, get, names
from mlsys.distance.metrics.l1 import L1
from mlsys.distance.operators import result_dtype
from mlsys.distance.rows import cpu, gpu
from mlsys.errors import UserError

METRICS = ("l2", "sqeuclidean", "l1", "cosine", "dot")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8)
SHAPES = ((1, 1), (3, 7), (5, 1000), (2, 40_000), (300, 16), (4, 3000), (0, 5), (3, 0))


def pair(count: int, n: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count * n)
    x, y = ((torch.randn(count, n, generator=generator) * 20).to(dtype) for _ in range(2))
    return x, y


def one_by_one(x: torch.Tensor, y: torch.Tensor, metric: str | Metric) -> torch.Tensor:
    found = [distance(a, b, metric) for a, b in zip(x, y, strict=True)]
    return torch.stack(found) if found else torch.empty(0, dtype=result_dtype(x.dtype))


def close(found: torch.Tensor, wanted: torch.Tensor, scale: float = 0.0) -> bool:
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    rounding = 1e-13 if wanted.dtype == torch.float64 else 2.5e-7
    atol = rounding * scale
    return bool(torch.allclose(found, wanted, rtol=rounding, atol=atol, equal_nan=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("metric", METRICS)
def test_rows_are_what_vectors_are(metric: str, dtype: torch.dtype) -> None:
    for count, n in SHAPES:
        x, y = pair(count, n, dtype)
        scale = float((x.double() * y.double()).abs().sum()) if metric == "dot" else 1e-6
        wanted = one_by_one(x, y, metric)
        assert close(distance(x, y, metric, dim=-1), wanted, scale), (count, n)
        long = dtype == torch.float32 and metric in ("l2", "cosine")  # Triton's interpreter takes its time
        if count and (count * n < 5000 or long):
            out = torch.empty_like(wanted)
            gpu.distances(x, y, get(metric), out)
            assert close(out, wanted, scale), (count, n)


def test_every_stride_is_read_where_it_lies() -> None:
    x, y = pair(24, 50)
    forms = {
        "transposed": x.T.contiguous().T,
        "every other": x.repeat_interleave(2, 0)[::2],
        "strided within": x.repeat_interleave(2, 1)[:, ::2],
        "one for all": x[:1].expand(24, 50),
        "a part": torch.nn.functional.pad(x, (3, 2))[:, 3:-2],
        "negated": torch._neg_view(-x),
    }
    for name, form in forms.items():
        for metric in METRICS:
            wanted = one_by_one(form.contiguous(), y, metric)
            assert close(distance(form, y, metric, dim=1), wanted, 1.0), name
            out = torch.empty_like(wanted)
            if name != "negated":
                gpu.distances(form, y, get(metric), out)
                assert close(out, wanted, 1.0), name


def test_shapes_broadcast_and_any_dimension_may_be_the_vectors() -> None:
    x, y = pair(6, 5)
    wanted = one_by_one(x, y[:1].expand(6, 5), "l2")
    for other in (y[:1], y[0]):
        assert close(distance(x, other, dim=-1), wanted)
    assert close(distance(x.T, y[:1].T, dim=0), wanted)
    assert distance(x[0], y[0], dim=0) == distance(x[0], y[0])
    cube, other = x.reshape(2, 3, 5), y.reshape(2, 3, 5)
    assert close(distance(cube, other, dim=-1), one_by_one(x, y, "l2").reshape(2, 3))
    assert distance(cube.movedim(-1, 0), other.movedim(-1, 0), "l1", dim=0).shape == (2, 3)


def test_torchs_own_agree() -> None:
    x, y = pair(9, 33)
    assert torch.allclose(distance(x, y, "l2", dim=-1), F.pairwise_distance(x, y, eps=0.0), rtol=1e-5)
    assert torch.allclose(1 - distance(x, y, "cosine", dim=-1), F.cosine_similarity(x, y, dim=1), atol=1e-5)
    assert torch.allclose(distance(x, y, "dot", dim=-1), torch.linalg.vecdot(x, y), rtol=1e-4)


def test_arrays_lists_and_frames_give_arrays() -> None:
    x, y = (rows.numpy() for rows in pair(3, 4))
    wanted = one_by_one(torch.from_numpy(x), torch.from_numpy(y), "l2").numpy()
    for form in (np.asarray, pd.DataFrame, np.asfortranarray):
        found = distance(form(x), form(y), dim=-1)
        assert type(found) is np.ndarray
        assert np.allclose(found, wanted, rtol=2e-7)
    assert distance([[0, 3], [1, 1]], [[4, 0], [1, 1]], dim=1).tolist() == [5.0, 0.0]
    assert distance(pd.Series(x[0]), pd.Series(y[0]), dim=0) == distance(x[0], y[0])


@pytest.mark.parametrize("metric", [*names()])
def test_slopes_of_the_kernels_are_the_gradient_in_torch(metric: str) -> None:
    chosen = get(metric)
    for (count, n), dtype in (
        ((3, 7), torch.float64),
        ((2, 3000), torch.float32),
        ((70, 16), torch.float16),
        ((5, 20), torch.bfloat16),
    ):
        x, y = pair(count, n, dtype)
        y = y[:1].expand(count, n)
        weight = torch.linspace(-1, 1, count, dtype=result_dtype(dtype))
        value = distance(x, y, metric, dim=-1)
        a, b = (rows.detach().double().requires_grad_() for rows in (x, y.contiguous()))
        distance(a, b, metric, dim=-1).backward(weight.double())
        sides = [gpu.slopes(weight, x, y, chosen, True, True, known) for known in (value, None)]
        for found, wanted in zip(sides[0] + sides[1], 2 * (a.grad, b.grad), strict=True):
            assert wanted is not None
            assert found.dtype == dtype
            assert torch.allclose(found.double(), wanted, rtol=8 * torch.finfo(dtype).eps, atol=1e-6)
        assert gpu.slopes(weight, x, y, chosen, of_x=False, of_y=True)[0].numel() == 0


def test_the_slope_of_equal_rows_is_zero() -> None:
    x, _ = pair(3, 20)
    for metric in ("l2", "l1"):
        left, right = gpu.slopes(torch.ones(3), x, x, get(metric), of_x=True, of_y=True)
        assert not left.any()
        assert not right.any()


def test_few_long_rows_are_cut_and_the_cut_changes_no_bit() -> None:
    assert gpu.cut(100, 1_000_000, 4096, 2112).segments > 1
    assert gpu.cut(6_250_000, 16, 4096, 2112) == gpu.Tiles(256, 16, 16, 1, True)
    assert gpu.cut(100_000, 1000, 2048, 2112).segments == 1
    x, y = pair(2, 40_000)
    found = []
    for _ in range(2):
        out = torch.empty(2)
        gpu.distances(x, y, get("cosine"), out)
        found.append(out)
    assert torch.equal(*found)


@dataclass(frozen=True)
class Uncompiled(L1):
    """A metric without an `element`: NumPy takes its rows."""

    name: str = "uncompiled"
    element: ClassVar[Any] = None
    definition = L1.definition


def test_a_metric_without_an_element_is_summed_by_numpy() -> None:
    x, y = pair(70, 900)
    out = torch.empty(70)
    cpu.distances(x, y, Uncompiled(), out)
    assert close(out, one_by_one(x, y, "l1"))


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_euclidean_of_float64_rows_keeps_its_range(scale: float) -> None:
    x, y = (
        torch.full((3, 400), 3 * scale, dtype=torch.float64),
        torch.full((3, 400), 7 * scale, dtype=torch.float64),
    )
    assert distance(x, y, "l2", dim=1).tolist() == pytest.approx([80 * scale] * 3, rel=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "words", "message"),
    [
        (torch.ones(2, 3), torch.ones(2, 3), {}, r"x must be 1-D, not of shape \(2, 3\); dim=-1 takes rows"),
        (torch.ones(2, 3), torch.ones(2, 1), {"dim": 1}, r"differ along dim=1: a distance needs as many elements"),
        (torch.ones(2, 3), torch.ones(4, 3), {"dim": 1}, "do not broadcast"),
        (torch.ones(2, 3), torch.ones(2, 3), {"dim": 2}, r"dim=2 is not a dimension of x of shape \(2, 3\)"),
        (torch.ones(2, 3), torch.ones(3), {"dim": 0}, r"dim=0 is not a dimension"),
        (torch.ones(2, 3), torch.ones(2, 3), {"dim": "1"}, "dim='1' must be a whole number"),
        (torch.ones(2, 3), torch.ones(2, 3), {"dim": 1.0}, "dim=1.0 must be a whole number"),
        (torch.ones(2, 3), torch.ones(2, 3), {"dim": (0, 1)}, r"dim=\(0, 1\) must be a whole number"),
        (torch.ones(3), torch.ones(3).double(), {"dim": 0}, "x is float32 and y is float64: a distance"),
        (torch.ones(3), torch.ones(3), {"dim": 0, "reduction": "blocked"}, "reduction=blocked is for two vectors"),
        (torch.ones(2, 3), torch.ones(2, 3), {"dim": 1, "metric": "hamming"}, "metric=hamming is none of"),
        (torch.ones(2, 3).long(), torch.ones(2, 3).long(), {"dim": 1}, "x has dtype int64; distances take"),
        (torch.ones(2, 3).to_sparse(), torch.ones(2, 3), {"dim": 1}, "x is a sparse_coo tensor: pass a dense one"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(x: Any, y: Any, words: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        distance(x, y, **words)
    assert "\n" not in str(caught.value)
