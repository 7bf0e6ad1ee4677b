from __future__ import annotations

import random

import numpy as np
import pytest

from mlsys.serving.balancer import Policy
from mlsys.serving.balancer.least_in_flight import LeastInFlight
from mlsys.serving.balancer.power_of_two import PowerOfTwo
from mlsys.theory.choices import Choices, mean_field_ms
from mlsys.theory.exponential import Exponential
from mlsys.theory.law import Unstable


class Replica:
    def __init__(self, name: str) -> None:
        self.name, self.in_flight = name, 0


def stream_ms(policy: Policy, replicas: int, rate_rps: float, service_ms: float, events: int) -> float:
    """The mean latency by Little's law of a long stream through the project's own policy."""
    draw, all_of_them = random.Random(11), [Replica(str(number)) for number in range(replicas)]
    passed = inside = 0.0
    for _ in range(events):
        busy = [one for one in all_of_them if one.in_flight]
        rates = [rate_rps / 1e3] + [1 / service_ms] * len(busy)
        took = draw.expovariate(sum(rates))
        passed, inside = passed + took, inside + took * sum(one.in_flight for one in all_of_them)
        turn = draw.choices(range(len(rates)), rates)[0]
        if turn:
            busy[turn - 1].in_flight -= 1
        else:
            policy.choose(all_of_them).in_flight += 1
    return inside / passed / (rate_rps / 1e3)


@pytest.mark.parametrize(
    ("policy", "replicas", "drawn"),
    [(PowerOfTwo("power_of_two", 0), 3, 2), (LeastInFlight("least_in_flight"), 3, 3)],
    ids=["power_of_two", "least_in_flight"],
)
def test_the_policies_do_what_the_chain_says(policy: Policy, replicas: int, drawn: int) -> None:
    expected = Choices(100.0, 20.0, replicas, drawn).mean_ms
    assert stream_ms(policy, replicas, 100.0, 20.0, 200_000) == pytest.approx(expected, rel=0.03)


def test_one_drawn_is_a_line_for_each_replica() -> None:
    assert Choices(80.0, 20.0, 2, 1).mean_ms == pytest.approx(Exponential(40.0, 20.0).mean_ms, rel=1e-4)
    assert mean_field_ms(40.0, 20.0, 1) == pytest.approx(100.0)


def test_the_mean_field_is_its_series() -> None:
    rho = 0.8
    wanted = 20 * (1 + rho**2 + rho**6 + rho**14 + rho**30 + rho**62)
    assert mean_field_ms(40.0, 20.0, 2) == pytest.approx(wanted, rel=1e-6)


def test_more_replicas_come_nearer_to_the_mean_field() -> None:
    limit = mean_field_ms(30.0, 20.0, 2)
    gaps = [Choices(30.0 * replicas, 20.0, replicas, 2).mean_ms - limit for replicas in (2, 3)]
    assert gaps[0] > gaps[1] > 0


def test_the_shares_of_the_chain_are_shares() -> None:
    _, shares = Choices(60.0, 20.0, 2, 2).states
    assert shares.sum() == pytest.approx(1.0)
    assert np.all(shares > -1e-12)


def test_what_the_chain_cannot_hold_is_said() -> None:
    with pytest.raises(ValueError, match="too many states"):
        Choices(900.0, 20.0, 20, 2)
    with pytest.raises(ValueError, match="drawn=3 must be at least 1 and at most 2"):
        Choices(60.0, 20.0, 2, 3)
    with pytest.raises(Unstable):
        Choices(100.0, 20.0, 2, 2)
