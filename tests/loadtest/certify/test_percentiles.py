from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from mlsys.loadtest.certify import percentiles
from mlsys.theory.exponential import Exponential
from mlsys.theory.replay import line


@pytest.mark.parametrize(
    ("share", "fewest"), [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6_636)]
)
def test_the_fewest_requests_are_mlcommons_figures(share: float, fewest: int) -> None:
    assert percentiles.least(share) == fewest
    assert percentiles.certified([1.0] * fewest, share) == 1.0
    assert percentiles.certified([1.0] * (fewest - 1), share) is None


def test_more_requests_leave_out_more_of_the_slowest() -> None:
    values = list(range(5_000))
    dropped = percentiles.discarded(5_000, 0.99)
    assert (
        percentiles.needed(dropped, 0.99) + dropped
        <= 5_000
        < percentiles.needed(dropped + 1, 0.99) + dropped + 1
    )
    assert percentiles.certified(values, 0.99) == 5_000 - dropped
    assert 4_950 < 5_000 - dropped < 5_000


def test_what_is_certified_holds_in_99_of_100_streams() -> None:
    random = np.random.default_rng(5)
    limit = -np.log(0.01)
    found = [percentiles.certified(random.exponential(size=1_000), 0.99) for _ in range(500)]
    assert np.mean([one is not None and one >= limit for one in found]) >= 0.98


@pytest.mark.parametrize("share", [0.5, 0.95, 0.999])
def test_ranks_are_scipys(share: float) -> None:
    for size in (1, 2, 13, 100, 5_000):
        for probability in (0.025, 0.975):
            found = percentiles._binomial_quantile(probability, size, share)
            assert found == binom.ppf(probability, size, share)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95])
def test_95_of_100_intervals_hold_the_percentile(share: float) -> None:
    random, held = np.random.default_rng(6), 0
    for _ in range(400):
        found = percentiles.interval([random.exponential(size=500)], share)
        assert found is not None
        held += found.low <= -np.log(1 - share) <= found.high
    assert 0.93 <= held / 400 <= 0.995


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_so_do_those_of_requests_that_waited_in_one_line(share: float) -> None:
    random, law, held = np.random.default_rng(7), Exponential(50.0, 10.0), 0
    wanted = law.quantile_ms(share)
    for _ in range(200):
        arrivals = np.cumsum(random.exponential(20.0, 3_000))
        found = percentiles.interval([line(arrivals, random.exponential(10.0, 3_000))[200:]], share)
        assert found is not None
        held += found.low <= wanted <= found.high
    assert 0.90 <= held / 200 <= 0.995


def test_an_interval_needs_requests_on_both_sides() -> None:
    assert percentiles.interval([[]], 0.5) is None
    mixed = [float(number * 7 % 20) for number in range(20)]
    assert percentiles.interval([mixed], 0.99) is None
    assert percentiles.interval([mixed], 0.5) is not None


def test_requests_that_only_ever_get_slower_are_worth_too_few_for_an_interval() -> None:
    assert percentiles.interval([list(range(20))], 0.5) is None


def test_no_sample_proves_that_all_are_within_a_limit() -> None:
    with pytest.raises(ValueError, match="no sample proves"):
        percentiles.needed(1, 1.0)
