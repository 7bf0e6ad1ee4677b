from __future__ import annotations

import math

import numpy as np
import pytest

from mlsys.theory.exponential import Exponential, erlang_c
from mlsys.theory.law import Unstable
from mlsys.theory.replay import line


def test_erlang_c_for_loads_whose_answer_is_known() -> None:
    assert erlang_c(0.7, 1) == pytest.approx(0.7)
    assert erlang_c(1.0, 2) == pytest.approx(1 / 3)
    terms = [8**n / math.factorial(n) for n in range(10)]
    waiting = 8**10 / math.factorial(10) / 0.2
    assert erlang_c(8.0, 10) == pytest.approx(waiting / (sum(terms) + waiting))


def test_one_workers_latency_is_exponential() -> None:
    law = Exponential(40.0, 20.0)
    assert law.mean_ms == pytest.approx(100.0)
    assert law.quantile_ms(0.95) == pytest.approx(-100 * math.log(0.05))


@pytest.mark.parametrize(("rate", "workers"), [(100.0, 3), (50.0, 2), (49.9999999999, 2)])
def test_the_mean_is_the_integral_of_the_distribution(rate: float, workers: int) -> None:
    law = Exponential(rate, 20.0, workers)
    at = np.linspace(0, 2000, 40_001)
    over = np.array([1 - law.cdf(float(t)) for t in at])
    assert np.trapezoid(over, at) == pytest.approx(law.mean_ms, rel=1e-3)


def test_percentiles_are_those_of_a_long_stream() -> None:
    random = np.random.default_rng(4)
    law = Exponential(100.0, 24.0, 3)
    arrivals = np.cumsum(random.exponential(10, 400_000))
    latencies = line(arrivals, random.exponential(24, len(arrivals)), 3)
    for share in (0.5, 0.95, 0.99):
        assert np.quantile(latencies, share) == pytest.approx(law.quantile_ms(share), rel=0.05)


def test_more_than_the_workers_can_do_is_refused() -> None:
    with pytest.raises(Unstable):
        Exponential(100.0, 30.0, 3)
