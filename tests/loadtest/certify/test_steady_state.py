from __future__ import annotations

import numpy as np
import pytest

from mlsys.loadtest.certify import steady_state
from mlsys.theory.replay import line


def level(load: float, count: int, random: np.random.Generator) -> list[float]:
    """Latencies at one worker with a service time of 1, from the first request on."""
    return [float(one) for one in line(np.cumsum(random.exponential(1 / load, count)), [1.0] * count)]


def test_a_start_that_is_slower_is_cut() -> None:
    noise = np.random.default_rng(8).standard_normal(1_000)
    found = steady_state.find(np.concatenate([np.linspace(10, 0, 100), np.zeros(900)]) + 20 + noise)
    assert found is not None
    assert found.reached
    assert 70 <= found.cut <= 120


def test_nothing_is_cut_of_what_is_steady_from_the_first() -> None:
    found = steady_state.find([5.0] * 200)
    assert found == steady_state.SteadyState(0, True)


@pytest.mark.parametrize(("load", "count"), [(0.2, 100), (0.5, 500), (0.8, 2_000)])
def test_a_level_below_capacity_is_called_steady_in_99_of_100(load: float, count: int) -> None:
    random = np.random.default_rng(9)
    found = [steady_state.find(level(load, count, random)) for _ in range(200)]
    assert np.mean([one is not None and one.reached for one in found]) >= 0.98


@pytest.mark.parametrize(("load", "count"), [(1.2, 500), (1.5, 200), (3.0, 60)])
def test_a_level_beyond_capacity_is_not(load: float, count: int) -> None:
    random = np.random.default_rng(10)
    found = [steady_state.find(level(load, count, random)) for _ in range(200)]
    assert np.mean([one is not None and not one.reached for one in found]) >= 0.93


def test_few_requests_say_nothing() -> None:
    assert steady_state.find([1.0] * 49) is None
    assert steady_state.all_reached([[1.0] * 49]) is None
    assert steady_state.all_reached([[1.0] * 49, [1.0] * 60]) is True


def test_a_trend_too_small_to_matter_is_none() -> None:
    assert not steady_state.has_trend(np.linspace(100, 101, 500))
    assert steady_state.has_trend(np.linspace(100, 150, 500))
