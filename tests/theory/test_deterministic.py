"""M/D/c: the figures of one worker by Pollaczek and Khinchine, all else by replaying long streams."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlsys.theory.deterministic import Deterministic
from mlsys.theory.law import Unstable
from mlsys.theory.replay import line


@pytest.mark.parametrize(("rate", "mean_ms"), [(10, 25.10), (20, 30.64), (30, 43.35), (40, 102.67)])
def test_the_means_of_one_worker_of_22_ms(rate: float, mean_ms: float) -> None:
    assert Deterministic(rate, 22.0).mean_ms == pytest.approx(mean_ms, abs=0.005)


@pytest.mark.parametrize("rate", [10, 20, 30, 40])
def test_the_chain_agrees_with_the_closed_form(rate: float) -> None:
    law = Deterministic(rate, 22.0)
    assert np.arange(len(law.states)) @ law.states / rate * 1e3 == pytest.approx(law.mean_ms, rel=1e-9)
    assert law.states[0] == pytest.approx(1 - rate * 0.022, rel=1e-9)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_mean_is_the_integral_of_the_distribution(workers: int) -> None:
    law = Deterministic(40.0 * workers, 20.0, workers)
    at = np.linspace(0, 1500, 3_001)
    over = np.array([1 - law.cdf(float(t)) for t in at])
    assert np.trapezoid(over, at) == pytest.approx(law.mean_ms, rel=1e-2)


def test_a_wait_within_the_first_service_has_a_form_of_its_own() -> None:
    law = Deterministic(30.0, 20.0)
    assert law.wait_cdf(-1e-9) == 0
    for at in (0.0, 5.0, 19.9):  # (1 − ρ)·e^{λt}
        assert law.wait_cdf(at) == pytest.approx(0.4 * math.exp(0.03 * at), rel=1e-9)


@pytest.mark.parametrize(("workers", "service_ms"), [(1, 8.0), (2, 16.0), (3, 26.0)])
def test_percentiles_are_those_of_a_long_stream(workers: int, service_ms: float) -> None:
    law = Deterministic(100.0, service_ms, workers)
    arrivals = np.cumsum(np.random.default_rng(3).exponential(10, 200_000))
    latencies = line(arrivals, [service_ms] * len(arrivals), workers)
    assert latencies.mean() == pytest.approx(law.mean_ms, rel=0.03)
    for share in (0.5, 0.95, 0.99):
        assert np.quantile(latencies, share) == pytest.approx(law.quantile_ms(share), rel=0.05)


def test_more_than_a_worker_can_do_is_refused() -> None:
    with pytest.raises(Unstable):
        Deterministic(50.0, 20.0)
