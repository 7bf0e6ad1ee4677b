"""Batches that begin in turn: the slots exactly, and what they bring by the rule that they are made for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from sections import made
from turned_clock import Clock

from mlsys.errors import UserError
from mlsys.serving.balancer.staggered import Staggered
from mlsys.theory import replay
from mlsys.theory.cost import Cost

COST, LIMIT_MS, REPLICAS = Cost(1.0, 21.0), 100.0, 4


@dataclass
class Replica:
    name: str
    in_flight: int = 0


A, B, C = Replica("a"), Replica("b"), Replica("c")


def staggered(clock: Clock, slot_ms: float = 20.0) -> Staggered:
    found: Staggered = made("balancer/staggered", slot_ms=slot_ms, clock=clock)
    return found


def test_all_requests_of_a_slot_go_to_one_replica() -> None:
    clock = Clock()
    policy, chosen = staggered(clock), ""
    for at_ms in (0, 5, 19, 20, 39, 41, 100, 119, 121):
        clock.now = at_ms / 1e3
        chosen += policy.choose([A, B, C]).name
    assert chosen == "aaabbcaab"


def test_what_a_replica_cannot_take_goes_to_the_next_and_the_slot_stays_its_own() -> None:
    clock = Clock()
    policy = staggered(clock)
    assert policy.choose([A, B, C]).name == "a"
    assert policy.choose([B, C]).name == "b"
    assert policy.choose([A, B, C]).name == "a"
    clock.now = 0.021
    assert policy.choose([A, C]).name == "c", "the longest without a slot of those that are there"
    assert policy.choose([A, B]).name == "a"


def test_a_slot_takes_time() -> None:
    with pytest.raises(UserError, match=r"balancer\.slot_ms=0"):
        made("balancer/staggered", slot_ms=0.0)


def worst_ms(rate_rps: float, slot_ms: float | None) -> float:
    """The longest latency of requests that come as from a clock, at replicas that take all; with slots or by turns."""
    clock = Clock()
    policy = staggered(clock, slot_ms or 1.0)
    replicas = [Replica(str(number)) for number in range(REPLICAS)]
    arrivals: dict[str, list[float]] = {replica.name: [] for replica in replicas}
    for number in range(6_000):
        clock.now = number / rate_rps
        chosen = replicas[number % REPLICAS] if slot_ms is None else policy.choose(replicas)
        arrivals[chosen.name].append(1e3 * clock.now)
    window = 0.0 if slot_ms is None else slot_ms
    each = [
        replay.batches(came, COST, None, window, at_once=slot_ms is None)[0] for came in arrivals.values()
    ]
    return float(max(np.max(found) for found in each))


def test_the_limit_holds_up_to_738_requests_a_second_and_replica_instead_of_580() -> None:
    """L = 100 ms, ℓ(b) = 21 + b ms, four replicas: 2ℓ(b) ≤ L holds b = 29, (1 + 1/4)·ℓ(b) ≤ L holds b = 59."""
    in_turn, slots = 29 / 0.050, 59 / 0.080
    assert (in_turn, slots) == pytest.approx((580, 738), abs=1)
    assert worst_ms(REPLICAS * in_turn * 0.98, None) <= LIMIT_MS
    assert worst_ms(REPLICAS * in_turn * 1.05, None) > LIMIT_MS
    assert worst_ms(REPLICAS * slots * 0.98, 20.0) <= LIMIT_MS
    assert worst_ms(REPLICAS * slots * 1.05, 20.0) > LIMIT_MS
