from __future__ import annotations

import numpy as np
import pytest
from made_rows import row
from scalars import number

from mlsys.loadtest.certify.level import certified
from mlsys.loadtest.rows import Row
from mlsys.loadtest.window import window
from mlsys.theory.deterministic import Deterministic
from mlsys.theory.replay import line


def queue(load: float, count: int, seed: int = 1) -> list[Row]:
    """A level at one worker of 20 ms, all measured."""
    came = np.cumsum(np.random.default_rng(seed).exponential(0.02 / load, count))
    took = line(came * 1e3, np.full(count, 20.0)) / 1e3
    return [row(at, at + taken) for at, taken in zip(came.tolist(), took.tolist(), strict=True)]


def test_a_steady_level_is_called_so_and_its_intervals_hold_what_theory_says() -> None:
    rows, law = queue(0.5, 4_000), Deterministic(25.0, 20.0)
    found = certified([rows], [window(rows)], lambda one: one.e2e_ms <= 60)
    assert number(found["e2e_ms.mean_low"]) < law.mean_ms < number(found["e2e_ms.mean_high"])
    assert number(found["e2e_ms.p95_low"]) < law.quantile_ms(0.95) < number(found["e2e_ms.p95_high"])
    assert number(found["e2e_ms.p95_certified"]) > law.quantile_ms(0.95)
    assert number(found["e2e_ms.effective_requests"]) < 4_000
    assert number(found["goodput.effective_requests"]) < 4_000
    assert found["steady.reached"] is True
    assert found["littles_law.ratio"] == pytest.approx(1.0, abs=0.01)


def test_where_all_met_the_objectives_their_latencies_say_what_they_are_worth() -> None:
    rows = queue(0.8, 1_000)
    found = certified([rows], [window(rows)], lambda one: True)
    assert found["goodput.effective_requests"] == found["e2e_ms.effective_requests"]
    assert number(found["goodput.effective_requests"]) < 500


def test_an_overloaded_level_is_marked() -> None:
    rows = queue(1.5, 400)
    found = certified([rows], [window(rows)], None)
    assert found["steady.reached"] is False
    assert "goodput.effective_requests" not in found


def test_few_requests_prove_little() -> None:
    rows = queue(0.3, 40)
    found = certified([rows], [window(rows)], None)
    assert found["e2e_ms.p99_certified"] is None
    assert found["e2e_ms.p99_low"] is None
    assert found["steady.reached"] is None
    assert found["steady.cut_requests"] == 0


def test_a_level_without_an_answer_proves_nothing() -> None:
    rows = [row(0.0, 1.0, outcome="failed")]
    found = certified([rows], [window(rows)], lambda one: False)
    assert found["e2e_ms.mean_low"] is None
    assert found["steady.e2e_ms.mean"] is None
    assert found["e2e_ms.effective_requests"] == 0
