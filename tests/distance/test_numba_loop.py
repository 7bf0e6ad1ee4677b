"""The compiled loop computes what a metric's NumPy rows do, is kept on disk, and leaves to NumPy what it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlsys.distance import numba_loop
from mlsys.distance.metrics import Metric, get, names
from mlsys.distance.numba_loop import WIDTH
from mlsys.distance.reductions.blocked import in_rows

numba = pytest.importorskip("numba")

Array = np.ndarray[Any, Any]


def looped(metric: Metric, x: Array, y: Array) -> Array:
    """The rows' sums, (sums, rows), as a part of a larger array; what lies beside it is not touched."""
    loop = numba_loop.loop(metric, x.dtype.type)
    assert loop is not None
    room = np.full((metric.sums, -(-len(x) // WIDTH) + 2), np.nan)
    loop(x, y, room[:, 1:-1])
    assert np.isnan(room[:, [0, -1]]).all()
    return room[:, 1:-1]


def plain(metric: Metric, x: Array, y: Array) -> Array:
    found = []
    for a, b in zip(in_rows(x.astype(np.float64)), in_rows(y.astype(np.float64)), strict=True):
        found.append(np.empty((metric.sums, len(a))))
        with np.errstate(all="ignore"):
            metric.rows(a, b, np.empty_like(a), found[-1])
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loop_agrees_with_numpy(name: str, dtype: type) -> None:
    metric = get(name) if dtype is np.float32 else get(name).wide()
    for n in (1, 15, 255, WIDTH - 1, WIDTH, WIDTH + 1, 3 * WIDTH + 77):
        x, y = np.random.default_rng(n).standard_normal((2, n)).astype(dtype)
        limit = 1e-13 * n if dtype is np.float64 else 1e-7 * n
        found, expected = looped(metric, x, y), plain(metric, x, y)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-6, atol=limit)
        if metric.sums == 3 and name == "cosine":
            np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13 * n)


@pytest.mark.parametrize("name", names())
def test_a_row_has_the_same_bits_alone_and_anywhere_in_memory(name: str) -> None:
    metric = get(name)
    x, y = np.random.default_rng(0).standard_normal((2, 5 * WIDTH)).astype(np.float32)
    together = looped(metric, x, y)
    for row in range(5):
        moved = []
        for vector in (x, y):
            room = np.empty(WIDTH + row, np.float32)[row:]
            room[:] = vector[row * WIDTH : (row + 1) * WIDTH]
            moved.append(room)
        np.testing.assert_array_equal(looped(metric, *moved)[:, 0], together[:, row])


def test_many_equal_terms_do_not_drift() -> None:
    x = np.full(WIDTH, 0.1, np.float32)
    total = looped(get("l1"), x, np.zeros_like(x))[0, 0]
    assert total == pytest.approx(WIDTH * float(np.float32(0.1)), rel=1e-14)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_nan_and_infinity_stay(name: str, odd: float) -> None:
    x, y = np.ones((2, 2 * WIDTH), np.float32)
    x[WIDTH + 1500] = odd
    found, expected = looped(get(name), x, y), plain(get(name), x, y)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))


def test_the_machine_code_is_kept_on_disk_for_each_state_of_a_metrics_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    element = get("l1").element
    compile_it = numba_loop._compiled.__wrapped__
    compile_it(element, 1, np.float32)
    assert compile_it(element, 1, np.float32).stats.cache_hits
    for file in tmp_path.rglob("*.nb?"):
        file.write_bytes(b"cut")  # by a full disk
    assert not compile_it(element, 1, np.float32).stats.cache_hits  # and compiles
    names = {file.name for file in tmp_path.rglob("*.nbi")}
    monkeypatch.setattr(numba_loop, "_version", lambda element: 7)
    compile_it(element, 1, np.float32)
    assert len({file.name for file in tmp_path.rglob("*.nbi")} - names) == 1


def test_numpy_serves_where_nothing_can_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_loop, "_numba", lambda: None)
    assert numba_loop.loop(get("l2"), np.float32) is None
