"""Where requests go, exactly."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sections import made

from mlsys.serving.balancer import Policy
from mlsys.serving.balancer.least_in_flight import LeastInFlight
from mlsys.serving.balancer.power_of_two import PowerOfTwo
from mlsys.serving.balancer.round_robin import RoundRobin


@dataclass
class Replica:
    name: str
    in_flight: int = 0


A, B, C = Replica("a"), Replica("b"), Replica("c")


def test_round_robin_takes_turns() -> None:
    policy = RoundRobin("round_robin")
    assert "".join(policy.choose([A, B, C]).name for _ in range(7)) == "abcabca"


def test_round_robin_keeps_its_turns_when_one_is_away() -> None:
    policy = RoundRobin("round_robin")
    assert [policy.choose([A, B, C]).name for _ in range(2)] == ["a", "b"]
    assert [policy.choose([A, C]).name for _ in range(3)] == ["c", "a", "c"]
    assert [policy.choose([A, B, C]).name for _ in range(3)] == ["b", "a", "c"]


def test_round_robin_over_two_sets_is_fair_in_each() -> None:
    """One counter modulo the number of candidates sends all of an interleaved set to the same replica."""
    policy, other = RoundRobin("round_robin"), [Replica("x"), Replica("y")]
    counts = Counter(policy.choose(group).name for _ in range(50) for group in ([A, B], other))
    assert counts == {"a": 25, "b": 25, "x": 25, "y": 25}


def test_least_in_flight() -> None:
    policy = LeastInFlight("least_in_flight")
    busy, idle, idle_too = Replica("busy", 3), Replica("idle", 1), Replica("idle_too", 1)
    assert [policy.choose([busy, idle, idle_too]).name for _ in range(3)] == ["idle", "idle_too", "idle"]


def test_power_of_two_never_takes_the_busiest_of_two_draws() -> None:
    policy = PowerOfTwo("power_of_two", seed=1)
    replicas = [Replica("a", 0), Replica("b", 5), Replica("c", 9)]
    counts = Counter(policy.choose(replicas).name for _ in range(600))
    assert counts["c"] == 0
    assert 300 < counts["a"] < 500
    assert policy.choose([C]) is C


def test_power_of_two_is_drawn_by_its_seed() -> None:
    replicas = [Replica(str(number)) for number in range(10)]
    draws = [
        [policy.choose(replicas).name for _ in range(20)]
        for policy in (PowerOfTwo("power_of_two", 3), PowerOfTwo("power_of_two", 3))
    ]
    assert draws[0] == draws[1]


@pytest.mark.parametrize("policy", ["round_robin", "least_in_flight", "power_of_two"])
@given(loads=st.lists(st.integers(0, 50), min_size=1, max_size=8))
def test_the_choice_is_one_of_the_candidates(policy: Callable[[], Policy], loads: list[int]) -> None:
    replicas = [Replica(str(number), load) for number, load in enumerate(loads)]
    assert made(f"balancer/{policy}").choose(replicas) in replicas
