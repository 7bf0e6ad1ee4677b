"""Whom a latency keeps requests from, and for how long: exactly, and what it brings where one replica is slow."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass

import pytest
from sections import made
from turned_clock import Clock

from mlsys.errors import UserError
from mlsys.serving.balancer import Policy, Timing
from mlsys.serving.balancer.peak_ewma import PeakEwma


@dataclass
class Replica:
    name: str
    in_flight: int = 0


A, B = Replica("a"), Replica("b")


def peak_ewma(clock: Clock, decay_s: float = 10.0) -> PeakEwma:
    found: PeakEwma = made("balancer/peak_ewma", decay_s=decay_s, clock=clock)
    return found


def chosen(policy: PeakEwma, a: int, b: int) -> str:
    return policy.choose([Replica("a", a), Replica("b", b)]).name


def test_as_long_as_nothing_is_known_it_is_by_requests_in_flight_in_turn() -> None:
    policy = peak_ewma(Clock())
    assert "".join(policy.choose([A, B]).name for _ in range(4)) == "abab"
    assert chosen(policy, 2, 1) == "b"


def test_a_late_answer_counts_at_once_and_is_forgotten_by_and_by() -> None:
    clock = Clock()
    policy = peak_ewma(clock)
    for name in "ab":
        policy.answered(name, 0.1)
    policy.answered("b", 0.8)
    assert chosen(policy, 6, 0) == "a", "7 * 0.1 < 0.8"
    assert chosen(policy, 8, 0) == "b", "9 * 0.1 > 0.8"
    clock.now = 10.0  # the weight of what was known is 1 / e: 0.1 + 0.7 / e = 0.36
    assert [chosen(policy, 2, 0), chosen(policy, 3, 0)] == ["a", "b"]
    policy.answered("b", 0.1)
    assert [chosen(policy, 2, 0), chosen(policy, 3, 0)] == ["a", "b"], "one early answer is one"
    clock.now = 1000.0
    assert chosen(policy, 1, 0) == "b", "as fast as the best, and no faster"
    assert chosen(policy, 0, 0) == "a", "it was chosen longer ago"


def test_a_new_replica_is_taken_to_be_as_fast_as_the_best() -> None:
    policy = peak_ewma(Clock())
    policy.answered("a", 0.1)
    assert chosen(policy, 1, 0) == "b"
    assert chosen(policy, 0, 1) == "a"
    many = [Replica(str(number)) for number in range(40)]
    assert len({policy.choose(many).name for _ in many}) == 40


def test_a_time_constant_is_a_time() -> None:
    with pytest.raises(UserError, match=r"balancer\.decay_s=0"):
        made("balancer/peak_ewma", decay_s=0.0)


def served(policy: Policy, clock: Clock, clients: int, until_s: float) -> Counter[str]:
    """Answers of each of three replicas that answer one at a time in 0.1 s, the last in 1 s, to clients that wait."""
    replicas = [Replica("fast"), Replica("too"), Replica("slow")]
    took_s = {"fast": 0.1, "too": 0.1, "slow": 1.0}
    free_at = dict.fromkeys(took_s, 0.0)
    answers: list[tuple[float, int, float, Replica]] = []
    counts = Counter[str]()

    def ask(number: int) -> None:
        replica = policy.choose(replicas)
        replica.in_flight += 1
        free_at[replica.name] = max(free_at[replica.name], clock.now) + took_s[replica.name]
        heapq.heappush(answers, (free_at[replica.name], number, clock.now, replica))

    for number in range(clients):
        ask(number)
    while answers[0][0] < until_s:
        clock.now, number, asked_at, replica = heapq.heappop(answers)
        replica.in_flight -= 1
        counts[replica.name] += 1
        if isinstance(policy, Timing):
            policy.answered(replica.name, clock.now - asked_at)
        ask(number)
    return counts


def test_a_slow_replica_costs_what_it_does_not_serve_and_little_more() -> None:
    clock = Clock()
    by_latency = served(peak_ewma(clock), clock, 12, 100.0)
    by_count = served(made("balancer/least_in_flight"), Clock(), 12, 100.0)
    in_turn = served(made("balancer/round_robin"), Clock(), 12, 100.0)
    assert by_latency.total() > 0.95 * (10 + 10 + 1) * 100
    assert in_turn.total() < 0.2 * by_latency.total()
    assert by_latency["slow"] <= by_count["slow"]
