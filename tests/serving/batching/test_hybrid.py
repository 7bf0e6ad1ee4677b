"""The hybrid policy, decision by decision, and in whole closed and open loops."""

from typing import Any

import pytest
from sections import made
from simulation import simulate, waits_until

from mlsys.serving.batching import Close
from mlsys.serving.batching.hybrid import Hybrid


def policy(**knobs: Any) -> Hybrid:
    hybrid = made("batching/hybrid", **{"max_size": 4, "timeout_ms": 20.0, "linger_ms": 25.0, **knobs})
    assert isinstance(hybrid, Hybrid)
    return hybrid


def test_an_idle_worker_dispatches_at_once() -> None:
    hybrid = policy()
    hybrid.arrived(5.0)
    assert hybrid.decide(1, oldest=5.0, now=5.0) == Close(1, "idle")


def test_full_takes_no_more_than_fit() -> None:
    assert policy().decide(9, oldest=0.0, now=0.0) == Close(4, "full")


def test_the_window_starts_at_the_oldest_arrival() -> None:
    hybrid = policy(linger_ms=0.0)
    hybrid.answered(1, now=10.0)
    assert waits_until(hybrid.decide(2, oldest=9.99, now=10.0)) == pytest.approx(10.01)
    assert hybrid.decide(2, oldest=9.99, now=10.01) == Close(2, "deadline")
    assert hybrid.decide(2, oldest=9.0, now=10.0) == Close(2, "deadline")


def test_lingers_for_the_clients_just_answered() -> None:
    hybrid = policy(max_size=8)
    hybrid.answered(3, now=10.0)
    assert waits_until(hybrid.decide(2, oldest=1.0, now=10.0)) == pytest.approx(10.028)
    for _ in range(3):
        hybrid.arrived(10.002)
    assert hybrid.decide(5, oldest=1.0, now=10.002) == Close(5, "deadline")


def test_lingering_ends_without_them() -> None:
    hybrid = policy(max_size=8)
    hybrid.answered(3, now=10.0)
    hybrid.arrived(10.001)
    waited = waits_until(hybrid.decide(3, oldest=1.0, now=10.0279))
    assert waited == pytest.approx(10.028), "a millisecond a client more"
    assert hybrid.decide(3, oldest=1.0, now=10.0281) == Close(3, "deadline")


def test_learns_that_nobody_comes_back() -> None:
    hybrid = policy(max_size=8)
    for now in (0.0, 5.0, 10.0, 20.0, 30.0):
        hybrid.answered(2, now)
    assert hybrid.expected(30.0) == 0
    assert hybrid.decide(1, oldest=25.0, now=30.0) == Close(1, "deadline")


def test_one_gap_between_two_loads_is_not_mistaken_for_an_open_loop() -> None:
    hybrid = policy(max_size=32)
    hybrid.answered(20, 0.0)
    hybrid.answered(1, 60.0)
    assert hybrid.expected(60.0) == 1


def test_learns_that_they_come_back_again() -> None:
    hybrid = policy(max_size=8)
    for start in range(6):
        hybrid.answered(4, float(start))
    assert hybrid.expected(5.0) == 0
    for start in range(6, 12):
        hybrid.answered(4, float(start))
        for _ in range(4):
            hybrid.arrived(start + 0.003)
    hybrid.answered(4, 12.0)
    assert hybrid.expected(12.0) == 4


def test_one_client_alone_loses_nothing() -> None:
    run = simulate(policy(), [0.0], lambda size: 1.0, returns_after_s=lambda _: 0.004, until=50)
    waits = [batch.at - run.arrived[batch.members[0]] for batch in run.batches]
    assert max(waits) == 0
    assert {batch.reason for batch in run.batches} == {"idle"}


@pytest.mark.parametrize("left", [1, 4, 10])
def test_large_and_small_batches_do_not_alternate(left: int) -> None:
    """20 clients of which `left` come late: after one round all are in one batch, and stay there."""
    arrivals = [0.0] * (20 - left) + [0.5] * left
    hybrid = policy(max_size=32)
    run = simulate(
        hybrid, arrivals, lambda size: 1 + 0.5 * size, returns_after_s=lambda n: 0.001 * (n % 15), until=200
    )
    assert run.sizes[1:] == [20] * (len(run.sizes) - 1)


def test_many_clients_are_waited_for_although_they_come_back_one_after_the_other() -> None:
    run = simulate(
        policy(max_size=128),
        [0.001 * number for number in range(128)],
        lambda size: 0.2 + 0.0006 * size,
        returns_after_s=lambda n: 0.005 + 0.0006 * (n * 37 % 128),
        until=20,
    )
    assert run.sizes[5:-3] == [128] * len(run.sizes[5:-3])


def test_strangers_in_a_busy_open_loop_are_not_taken_for_clients_that_come_back() -> None:
    """400 requests a second, batches of 80 in 0.2 s: 40 arrive while 80 clients would be waited for."""
    hybrid = policy(max_size=128)
    arrivals = [0.0025 * number + 0.001 * (number * 7 % 5) for number in range(8000)]
    run = simulate(hybrid, sorted(arrivals), lambda size: 0.1 + 0.00125 * size)
    held = [batch.at - free for batch, free in zip(run.batches[1:], run.free_at, strict=False)]
    assert max(held[10:]) <= 0.020 + 1e-9  # the window of the oldest
    assert hybrid.expected(run.free_at[-1]) == 0


def test_without_lingering_they_would() -> None:
    arrivals = [0.0] * 16 + [0.5] * 4
    hybrid = policy(max_size=32, linger_ms=0.0, timeout_ms=0.0)
    run = simulate(
        hybrid,
        arrivals,
        lambda size: 1 + 0.5 * size,
        returns_after_s=lambda n: 0.001 * (1 + n % 15),
        until=200,
    )
    assert max(run.sizes[2:]) < 20, "the trap that lingering avoids is gone from the simulation"


def test_an_open_loop_is_hardly_held_up() -> None:
    """Poisson-like arrivals nobody answers to: after the first few batches no batch waits for ghosts."""
    arrivals = [0.11 * number + 0.05 * (number % 7) for number in range(300)]
    run = simulate(policy(max_size=8), sorted(arrivals), lambda size: 0.2 + 0.01 * size)
    held = [
        batch.at - max(run.arrived[batch.members[0]], free)
        for batch, free in zip(run.batches[1:], run.free_at, strict=False)
    ]
    assert max(held[5:]) <= 0.025 + 1e-9
    assert sum(held[5:]) < 0.02 * run.free_at[-1]


def test_a_budget_bounds_padded_tokens() -> None:
    hybrid = policy(max_size=8, max_padded_tokens=100)
    assert hybrid.cut([30, 30, 30]) == 3
    assert hybrid.cut([30, 30, 40]) == 2
    assert hybrid.cut([50, 50, 1]) == 2
    assert hybrid.cut([500]) == 1
    assert hybrid.cut([500, 1]) == 1
    assert hybrid.cut([1] * 20) == 8


def test_the_overflow_goes_first_next_time_and_nothing_loops() -> None:
    sizes = {0: 60, 1: 60, 2: 500, 3: 10, 4: 10}
    hybrid = policy(max_size=8, max_padded_tokens=100)
    run = simulate(hybrid, [0.0] * 5, lambda size: 1.0, tokens=sizes.__getitem__)
    assert [batch.members for batch in run.batches] == [[0], [1], [2], [3, 4]]
    assert [batch.reason for batch in run.batches] == ["budget", "budget", "budget", "deadline"]
