from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from mlsys.loadtest.certify.autocorrelation import correlation_time, effective_size, mean_interval


def resembling(phi: float, count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """A stationary series of mean 0, each value `phi` of the one before and the rest new (AR(1))."""
    new = random.standard_normal(count)
    new[0] /= np.sqrt(1 - phi**2)
    return np.asarray(lfilter([1.0], [1.0, -phi], new))


@pytest.mark.parametrize(("phi", "time"), [(0.0, 1.0), (0.5, 3.0), (0.9, 19.0)])
def test_so_many_values_in_a_row_are_worth_one(phi: float, time: float) -> None:
    assert correlation_time(resembling(phi, 200_000, np.random.default_rng(1))) == pytest.approx(
        time, rel=0.1
    )


def test_values_that_alternate_are_not_said_to_be_worth_more_than_they_are() -> None:
    assert correlation_time([1.0, -1.0] * 50) == 1.0
    assert correlation_time([5.0] * 50) == 1.0


def test_repeats_add_up() -> None:
    one = resembling(0.5, 5_000, np.random.default_rng(2))
    assert effective_size([one, one]) == pytest.approx(2 * effective_size([one]))
    assert effective_size([[], one]) == effective_size([one])


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_95_of_100_intervals_hold_the_mean(phi: float) -> None:
    random, held = np.random.default_rng(3), 0
    for _ in range(400):
        found = mean_interval([resembling(phi, 1_000, random)])
        held += found is not None and found.low <= 0 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_of_two_runs_that_are_alike_the_intervals_of_the_difference_hold_nothing_in_95_of_100() -> None:
    random, held = np.random.default_rng(4), 0
    for _ in range(400):
        found = mean_interval([resembling(0.7, 500, random) - resembling(0.7, 500, random)])
        held += found is not None and found.low <= 0 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_too_few_values_tell_nothing() -> None:
    assert mean_interval([]) is None
    assert mean_interval([[1.0, 2.0, 3.0]]) is None
