"""A metric's two forms agree: its NumPy rows and finish against its Triton terms and finish; a new one is one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from definitions import SCIPY

from mlsys.distance import distance
from mlsys.distance.definition import define, spelled
from mlsys.distance.language import jit, tl
from mlsys.distance.metrics import Array, Metric, get, names
from mlsys.distance.reductions.single_pass import SinglePass

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@jit
def cubes(x, y):  # type: ignore[no-untyped-def]
    d = tl.abs(x - y).to(tl.float64)
    return (d * d * d + 1.0,)  # not zero where x and y are: elements beyond the end must not count


@jit
def as_it_is(a, b, c):  # type: ignore[no-untyped-def]
    return a


@dataclass(frozen=True)
class Cubes(Metric):
    """Σ |x − y|³ + 1."""

    name: str = "cubes"
    sums = 1
    terms = cubes
    finish = as_it_is

    def rows(self, x: Array, y: Array, scratch: Array, out: Array) -> None:
        np.subtract(x, y, out=scratch)
        out[0] = (np.abs(scratch) ** 3 + 1).sum(axis=1, dtype=np.float64)

    def distance(self, sums: Sequence[float]) -> float:
        return float(sums[0])


def test_a_metric_of_ones_own_needs_only_its_class() -> None:
    x, y = torch.ones(5_003), torch.zeros(5_003)
    assert float(distance(x, y, Cubes())) == 2 * 5_003
    kernels = SinglePass(tile_bytes=4096, tiles=1)
    assert float(distance(x.to(DEVICE), y.to(DEVICE), Cubes(), kernels)) == 2 * 5_003


@pytest.mark.parametrize("name", names())
def test_the_definition_is_scipys_and_that_of_every_library(name: str) -> None:
    x, y = np.random.default_rng(1).standard_normal((2, 1000))
    text = get(name).definition
    assert text is not None
    assert get(name).wide().definition == text
    definition = define(text)
    halves = [definition.add(x[part], y[part]) for part in (slice(0, 300), slice(300, None))]
    expected = pytest.approx(float(SCIPY[name](x, y)), rel=1e-13, abs=1e-12)
    assert definition.finish([sum(both) for both in zip(*halves, strict=True)]) == expected
    assert eval(spelled(text, "np"), {"np": np, "x": x, "y": y}) == expected
    space = {"torch": torch, "x": torch.from_numpy(x), "y": torch.from_numpy(y)}
    assert float(eval(spelled(text, "torch"), space)) == expected


@pytest.mark.parametrize("name", names())
def test_rows_and_finish_agree_with_a_plain_sum(name: str) -> None:
    metric = get(name)
    x, y, scratch = np.random.default_rng(0).standard_normal((3, 4, 100))
    out = np.zeros((metric.sums, 4))
    metric.rows(x, y, scratch, out)
    plain = {
        "l2": [((x - y) ** 2).sum(1)],
        "sqeuclidean": [((x - y) ** 2).sum(1)],
        "l1": [np.abs(x - y).sum(1)],
        "cosine": [(x * y).sum(1), (x * x).sum(1), (y * y).sum(1)],
        "dot": [(x * y).sum(1)],
    }[name]
    np.testing.assert_allclose(out, plain, rtol=1e-12)
