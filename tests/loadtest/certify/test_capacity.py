from __future__ import annotations

import numpy as np
import pytest

from mlsys.loadtest.certify.capacity import Capacity, Tried, capacity, pooled, share_interval


def truth(rate: float) -> float:
    """The share that meets the objective at a rate."""
    return float(1 / (1 + np.exp((rate - 50) / 3)))


CROSSING = 50 + 3 * np.log(1 / 0.95 - 1)


def test_19_of_20_intervals_hold_the_capacity() -> None:
    random, held = np.random.default_rng(11), 0
    for seed in range(60):
        rates = (20.0, 38.0, 40.0, 42.0, 44.0, 50.0)
        levels = [Tried(rate, random.binomial(300, truth(rate)) / 300, 300) for rate in rates]
        found = capacity(levels, 0.95, seed)
        held += (found.low_rps or 0) <= CROSSING <= (found.high_rps or np.inf)
    assert held >= 54


def test_between_two_sure_levels_it_is_interpolated() -> None:
    found = capacity([Tried(10, 1.0, 1e6), Tried(20, 0.9, 1e6)], 0.95, 0)
    assert found.rate_rps == pytest.approx(15)
    assert found.low_rps == pytest.approx(15, abs=0.1)
    assert found.high_rps == pytest.approx(15, abs=0.1)


def test_a_luckier_higher_rate_does_not_count_for_more_than_the_lower_one() -> None:
    levels = [Tried(10, 1.0, 100), Tried(20, 0.90, 100), Tried(30, 0.96, 100), Tried(40, 0.5, 100)]
    found = capacity(levels, 0.95, 0)
    assert found.rate_rps is not None
    assert 10 < found.rate_rps < 20


def test_beyond_what_was_tried_nothing_is_named() -> None:
    assert capacity([Tried(10, 1.0, 1e6)], 0.95, 0) == Capacity(None, None, None)
    assert capacity([Tried(10, 0.2, 1e6)], 0.95, 0) == Capacity(None, None, None)
    assert capacity([], 0.95, 0) == Capacity(None, None, None)
    open_above = capacity([Tried(10, 1.0, 1e6), Tried(20, 0.95, 40)], 0.95, 0)
    assert open_above.high_rps is None
    assert open_above.low_rps is not None


def test_levels_of_one_rate_count_together() -> None:
    assert pooled([Tried(20, 0.5, 10), Tried(10, 1.0, 10), Tried(20, 1.0, 30)]) == [
        Tried(10, 1.0, 10),
        Tried(20, 0.875, 40),
    ]


def test_a_share_is_doubtful_while_its_interval_is_wide() -> None:
    some, many = share_interval(0.95, 20), share_interval(0.95, 2_000)
    assert some.low < 0.85
    assert some.high > 0.97
    assert many.high - many.low < 0.03
    assert share_interval(1.0, 20).high == 1.0
    assert share_interval(0.0, 20).low == 0.0
