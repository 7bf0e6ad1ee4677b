"""The reference: exact to float64's rounding, with the right scale for each metric's error."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from mlsys.distance import metrics, reference
from mlsys.distance.source import TensorSource


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(300_001, generator=generator) for _ in range(2))
    return x, y


@pytest.mark.parametrize("metric", metrics.NAMES)
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
    assert found.scale == pytest.approx(scale, rel=1e-13)


def test_relative_error_of_odd_values() -> None:
    one = TensorSource(torch.ones(3))
    found = reference(one, TensorSource(torch.zeros(3)), "l1")
    assert (found.value, found.relative_error(3.3)) == (3.0, pytest.approx(0.1))
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
