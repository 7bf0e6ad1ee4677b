"""The limit that is kept: decisions exactly, and whole runs at loads that no worker could serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sections import made
from simulation import waits_until

from mlsys.errors import UserError
from mlsys.serving.batching import Close
from mlsys.serving.batching.learned_cost import LearnedCost
from mlsys.serving.batching.slo import Slo
from mlsys.theory import replay
from mlsys.theory.cost import Cost

COST = Cost(0.001, 0.021)  # s
LIMIT_S = 0.100


def policy(**knobs: Any) -> Slo:
    given = {"limit_ms": 100.0, "margin_ms": 0.0, "per_request_ms": 1.0, "base_ms": 21.0}
    slo = made("batching/slo", **{**given, **knobs})
    assert isinstance(slo, Slo)
    return slo


def test_a_free_worker_takes_as_many_as_the_oldest_has_time_for() -> None:
    assert policy().decide(3, oldest=0.0, now=0.0) == Close(3, "idle")
    assert policy().decide(60, oldest=0.0, now=0.0501) == Close(28, "deadline")
    assert policy(max_size=8).decide(60, oldest=0.0, now=0.0501) == Close(8, "full")


def test_one_that_is_late_already_holds_up_nobody() -> None:
    assert policy().decide(60, oldest=0.0, now=0.09) == Close(60, "idle")


def test_fill_waits_until_the_last_moment_with_one_more() -> None:
    slo = policy(fill=True)
    assert waits_until(slo.decide(3, oldest=1.0, now=1.0)) == pytest.approx(1.0 + 0.100 - 0.025)
    assert slo.decide(3, oldest=1.0, now=1.0751) == Close(3, "idle")
    assert slo.decide(79, oldest=1.0, now=1.0) == Close(79, "idle")


def test_the_plan_has_the_running_batch_and_those_in_line_in_full_ones() -> None:
    slo = policy()
    assert slo.refuses([], 0.0) is None
    slo.decide(29, oldest=0.0, now=0.0)  # runs until 0.050
    assert slo.refuses([0.001] * 28, 0.001) is None, "0.050 for the batch, 0.050 for 29 more"
    assert slo.refuses([0.001] * 30, 0.001) is not None, "one too many for that"
    assert slo.refuses([-0.001] * 28, 0.001) is not None, "the oldest has no time for the newcomer"
    full = policy(max_size=4)
    full.decide(4, oldest=0.0, now=0.0)  # runs until 0.025
    assert full.refuses([0.001] * 8, 0.003) is None, "0.025 each for three full ones, and 0.022 alone"
    assert full.refuses([0.001] * 8, -0.004) is not None


def test_an_idle_worker_takes_anybody_and_so_learns_again() -> None:
    slo = policy(per_request_ms=None, base_ms=None)
    slo.decide(1, oldest=0.0, now=0.0)
    slo.cut([1])
    slo.answered(1, now=9.0)
    assert slo.refuses([], 9.0) is None
    assert slo.refuses([9.0], 9.0) is not None
    for began in range(10, 20):
        slo.decide(1, oldest=began, now=began)
        slo.answered(1, now=began + 0.02)
    assert slo.refuses([20.0], 20.0) is None


def test_the_learned_cost_is_that_of_the_batches_and_beyond_them_no_better_than_in_proportion() -> None:
    cost = LearnedCost()
    assert cost(5) == 0
    cost.took(1, 0.022)
    assert cost(4) == pytest.approx(0.088)
    for _ in range(5):
        cost.took(4, 0.025)
    assert (cost(1), cost(4)) == pytest.approx((0.022, 0.025))
    assert cost(8) == pytest.approx(0.050)


def test_what_batches_take_beyond_the_fit_is_counted_on() -> None:
    cost = LearnedCost()
    for number in range(50):
        cost.took(2, 0.030 if number % 5 == 0 else 0.020)
    assert cost(2) == pytest.approx(0.030)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"limit_ms": 5.0, "margin_ms": 5.0}, r"batching\.limit_ms=5 must be more than 5"),
        ({"base_ms": None}, "both are given, or both are learned"),
        ({"per_request_ms": -1.0}, r"batching\.per_request_ms=-1"),
        ({"max_size": 0}, r"batching\.max_size=0"),
    ],
)
def test_knobs_are_checked(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        policy(**knobs)


def run(slo: Slo, arrivals: np.ndarray, takes: Callable[[int], float]) -> tuple[list[float], float]:
    """The latencies of those that were let in, and the share of them; a worker behind the policy and its door."""
    line: list[float] = []
    running: list[float] = []
    ends, latencies, at = float("inf"), list[float](), 0
    wake = float("inf")
    while at < len(arrivals) or running or line:
        coming = arrivals[at] if at < len(arrivals) else float("inf")
        now = min(coming, ends, wake)
        wake = float("inf")
        if now == ends:
            latencies += [now - came for came in running]
            slo.answered(len(running), now)
            running, ends = [], float("inf")
        elif now == coming:
            at += 1
            if slo.refuses(line, now) is None:
                line.append(now)
        if line and not running:
            decision = slo.decide(len(line), line[0], now)
            if isinstance(decision, Close):
                running, line = line[: decision.count], line[decision.count :]
                assert slo.cut([1] * len(running)) == len(running)
                ends = now + takes(len(running))
            else:
                wake = waits_until(decision) or wake
    return latencies, len(latencies) / len(arrivals)


@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("rate", [300.0, 580.0, 800.0, 3000.0])
def test_at_any_load_the_limit_is_kept_and_as_many_are_served_as_it_allows(rate: float, fill: bool) -> None:
    """2ℓ(b) ≤ L holds 29 of 0.050 s: 580 a second. More come, and the others are refused."""
    arrivals = np.arange(3_000) / rate
    latencies, share = run(policy(fill=fill, margin_ms=2.0), arrivals, COST)
    assert max(latencies) <= LIMIT_S + 1e-9
    assert 0.96 <= share / min(1.0, 580 / rate) <= 1.1


def test_users_that_come_at_random_are_kept_in_time_as_well_with_a_cost_that_is_learned() -> None:
    random = np.random.default_rng(3)
    arrivals = np.cumsum(random.exponential(1 / 900, 4_000))
    jitter = iter(random.uniform(1.0, 1.1, 4_000))
    slo = policy(per_request_ms=None, base_ms=None)
    latencies, share = run(slo, arrivals, lambda size: COST(size) * next(jitter))
    assert np.mean(np.array(latencies) <= LIMIT_S) > 0.95
    assert share * 900 > 0.85 * 580


def test_without_a_door_the_same_load_leaves_nobody_in_time() -> None:
    arrivals = 1e3 * np.arange(3_000) / 800
    assert np.mean(replay.batches(arrivals, Cost(1.0, 21.0), 128)[0] <= 100) < 0.2
