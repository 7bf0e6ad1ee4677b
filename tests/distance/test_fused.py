"""The compiled loop computes what a metric's NumPy rows compute, and leaves to NumPy what it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from mlsys.distance import fused
from mlsys.distance.metrics import NAMES, Metric, get

pytest.importorskip("numba")


def summed(metric: Metric, x: np.ndarray, y: np.ndarray, compiled: bool) -> np.ndarray:
    out = np.full((metric.sums, 2 * len(x)), np.nan)
    rows = fused.rows(metric, x.dtype.type) if compiled else metric.rows
    assert rows is not None
    with np.errstate(all="ignore"):
        rows(x, y, np.empty_like(x), out[:, ::2])  # not contiguous
    assert np.isnan(out[:, 1::2]).all()
    return out[:, ::2]


@pytest.mark.parametrize("width", [1, 15, 255, 1024, 8191])
@pytest.mark.parametrize("name", NAMES)
def test_the_loop_agrees_with_numpy(name: str, width: int) -> None:
    x, y = np.random.default_rng(width).standard_normal((2, 3, width)).astype(np.float32)
    metric = get(name)
    wide = summed(metric, x.astype(np.float64), y.astype(np.float64), compiled=False)
    np.testing.assert_allclose(summed(metric, x, y, compiled=True), wide, rtol=1e-6, atol=1e-7 * width)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_has_the_same_bits_alone_and_anywhere_in_memory(name: str) -> None:
    metric = get(name)
    x, y = np.random.default_rng(0).standard_normal((2, 5, 3001)).astype(np.float32)
    together = summed(metric, x, y, compiled=True)
    for row in range(5):
        moved = []
        for vector in (x, y):
            room = np.empty(3001 + row, np.float32)[row:]
            room[:] = vector[row]
            moved.append(room[None])
        np.testing.assert_array_equal(summed(metric, *moved, compiled=True)[:, 0], together[:, row])


def test_many_equal_terms_do_not_drift() -> None:
    x = np.full((1, 8192), 0.1, np.float32)
    total = summed(get("l1"), x, np.zeros_like(x), compiled=True)[0, 0]
    assert total == pytest.approx(8192 * float(np.float32(0.1)), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_nan_and_infinity_stay(name: str, odd: float) -> None:
    x, y = np.ones((2, 2, 2000), np.float32)
    x[1, 1500] = odd
    plain, found = (summed(get(name), x, y, compiled) for compiled in (False, True))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(plain))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(plain))


def test_numpy_serves_where_nothing_can_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fused.rows(get("l2").wide(), np.float64) is None  # three scaled sums, no element
    monkeypatch.setattr(fused, "_numba", lambda: None)
    assert fused.rows(get("l2"), np.float32) is None
