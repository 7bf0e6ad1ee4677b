"""The reference: exact to float64's rounding, with the right scale for each metric's error."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from mlsys.distance import Reference, distance, metrics, reference
from mlsys.distance.expected import WIDER
from mlsys.distance.source import TensorSource
from mlsys.errors import UserError


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(300_001, generator=generator) for _ in range(2))
    return x, y


@pytest.mark.parametrize("metric", metrics.names())
def test_is_exact(pair: tuple[torch.Tensor, torch.Tensor], metric: str) -> None:
    a, b = (vector.double().numpy() for vector in pair)
    sums = {"l1": np.abs(a - b), "dot": a * b}.get(metric, (a - b) ** 2)
    truth = math.fsum(sums)
    if metric == "l2":
        truth = math.sqrt(truth)
    if metric == "cosine":
        truth = 1 - math.fsum(a * b) / math.sqrt(math.fsum(a * a) * math.fsum(b * b))
    found = reference(TensorSource(pair[0]), TensorSource(pair[1]), metric)
    assert found.value == pytest.approx(truth, rel=1e-13, abs=1e-10 if metric == "dot" else 0)
    scale = math.fsum(np.abs(a * b)) if metric == "dot" else abs(found.value)
    assert found.scale == pytest.approx(scale, rel=1e-12)


class Doubled(metrics.get("l1").__class__):  # type: ignore[misc]
    """Cityblock distance, wrong by 2 in each of its forms; only the definition is right."""

    def rows(self, x: Any, y: Any, scratch: Any, out: Any) -> None:
        super().rows(2 * x, 2 * y, scratch, out)

    @staticmethod
    def element(x: Any, y: Any) -> tuple[Any]:
        return (np.float64(abs(x - y)) * 2.0,)


@pytest.mark.parametrize("n", [50, 100_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_metric_that_is_wrong_in_all_its_forms_is_found_out(n: int, dtype: torch.dtype) -> None:
    x, y = (torch.randn(n, generator=torch.Generator().manual_seed(i), dtype=dtype) for i in range(2))
    found = reference(TensorSource(x), TensorSource(y), Doubled())
    assert found.relative_error(float(distance(x, y, Doubled()))) == pytest.approx(1.0, rel=1e-6)


def test_a_metric_without_a_definition_has_no_reference() -> None:
    class Undefined(Doubled):
        definition = None

    one = TensorSource(torch.ones(3))
    with pytest.raises(UserError, match="metric=l1 states no definition"):
        reference(one, one, Undefined())


@pytest.mark.parametrize("scale", [1e200, 1e-200, 1e-310, 1e300])
def test_sums_that_leave_float64s_range_are_made_again(scale: float) -> None:
    if not WIDER:
        pytest.skip("this machine's long double is a double")
    x, y = (torch.full((40_000,), value * scale, dtype=torch.float64) for value in (3, 7))
    found = reference(TensorSource(x), TensorSource(y), "l2")
    assert found.value == pytest.approx(float(y[0] - x[0]) * 200, rel=1e-14)
    assert found.relative_error(float(distance(x, y, "l2"))) <= 1e-12


def test_relative_error_has_one_meaning_for_what_is_not_finite() -> None:
    odd = (1.0, math.inf, -math.inf, math.nan)
    for value in odd:
        for truth in odd:
            same = value == truth or (math.isnan(value) and math.isnan(truth))
            assert Reference(truth, abs(truth)).relative_error(value) == (0.0 if same else math.inf)


def test_relative_error_of_odd_values() -> None:
    one = TensorSource(torch.ones(3))
    found = reference(one, TensorSource(torch.zeros(3)), "l1")
    assert found.value == 3.0
    assert found.relative_error(3.3) == pytest.approx(0.1)
    assert found.relative_error(math.nan) == math.inf
    assert reference(one, one, "l1").relative_error(0.0) == 0.0
    assert reference(one, one, "l1").relative_error(1e-9) == math.inf
    nothing = reference(one, TensorSource(torch.zeros(3)), "cosine")
    assert nothing.relative_error(math.nan) == 0.0


@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
def test_parts_add_up(pair: tuple[torch.Tensor, torch.Tensor], metric: str) -> None:
    x, y = map(TensorSource, pair)
    whole = reference(x, y, metric)
    sums: list[list[float]] = []
    edges = (0, 1, x.n // 2, x.n // 2, x.n)

    def total(own: list[float]) -> list[float]:
        sums.append(own)
        return [sum(column) for column in zip(*sums, strict=True)]

    for start, stop in pairwise(edges):
        found = reference(x.part(start, stop), y.part(start, stop), metric, total)
    assert found.value == pytest.approx(whole.value, rel=1e-13)
    assert found.scale == pytest.approx(whole.scale, rel=1e-13)
