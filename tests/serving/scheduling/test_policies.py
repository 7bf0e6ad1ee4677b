"""Whose turn it is, by each policy, with exact expectations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from steps import policy

from mlsys.errors import UserError
from mlsys.serving.scheduling import Policy
from mlsys.serving.scheduling.deadline import Deadline
from mlsys.serving.scheduling.fair import MOST_CLIENTS, Fair


@dataclass
class Waiting:
    """One that waits."""

    arrived_at: float = 0.0
    deadline: float | None = None
    client: str = ""
    priority: int = 0
    to_read: int = 10
    fewest: int = 1
    is_new: bool = True


def order(policy: Policy, line: list[Waiting]) -> list[int]:
    """The places in `line`, in the policy's order."""
    return sorted(range(len(line)), key=lambda place: policy.key(line[place]))


def test_first_come_first_served() -> None:
    assert order(policy(), [Waiting(3.0), Waiting(1.0), Waiting(2.0)]) == [1, 2, 0]


def test_the_shortest_prompt_goes_first_within_a_window_of_arrival() -> None:
    line = [
        Waiting(0.2, to_read=300),
        Waiting(0.9, to_read=20),
        Waiting(1.1, to_read=5),
        Waiting(0.35, to_read=20),
    ]
    assert order(policy("shortest_prompt", window_ms=1000.0), line) == [3, 1, 0, 2]
    assert order(policy("shortest_prompt", window_ms=100.0), line) == [0, 3, 1, 2]


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 1000)), min_size=2, max_size=30))
def test_nobody_waits_for_a_shorter_prompt_that_came_more_than_a_window_later(
    line: list[tuple[float, int]],
) -> None:
    shortest = policy("shortest_prompt", window_ms=1000.0)
    places = {
        place: number
        for number, place in enumerate(order(shortest, [Waiting(at, to_read=n) for at, n in line]))
    }
    for one, (early, _) in enumerate(line):
        for other, (late, _) in enumerate(line):
            if late > early + 1.001:
                assert places[one] < places[other]


def test_the_earliest_deadline_goes_first_and_none_is_the_last() -> None:
    line = [Waiting(0.0), Waiting(1.0, deadline=9.0), Waiting(2.0, deadline=5.0), Waiting(0.5)]
    assert order(policy("deadline"), line) == [2, 1, 0, 3]


def test_a_deadline_that_cannot_be_met_is_hopeless() -> None:
    deadline = policy("deadline", max_step_tokens=100)
    late = Waiting(
        deadline=2.0, to_read=250, fewest=10
    )  # three steps to read it, the last gives its first token
    assert not deadline.is_hopeless(late, now=1.0), "nothing is known of steps yet"
    deadline.stepped(0.1)
    assert not deadline.is_hopeless(late, now=0.79)
    assert deadline.is_hopeless(late, now=0.81)
    assert not deadline.is_hopeless(Waiting(to_read=10**6, fewest=10**6), now=0.81)


def test_how_long_steps_take_is_learnt_slowly() -> None:
    deadline = policy("deadline")
    assert isinstance(deadline, Deadline)
    deadline.stepped(0.1)
    deadline.stepped(0.2)
    assert deadline.step_s == pytest.approx(0.11)


def test_the_larger_priority_goes_first_and_puts_off_smaller_ones_alone() -> None:
    priority = policy("priority")
    line = [Waiting(0.0), Waiting(1.0, priority=2), Waiting(2.0, priority=-1), Waiting(0.5, priority=2)]
    assert order(priority, line) == [3, 1, 0, 2]
    assert priority.gives_way(line[0], line[1])
    assert not priority.gives_way(line[1], line[3])
    assert not policy("fcfs").gives_way(line[0], line[1])


def fair(**knobs: Any) -> Fair:
    """With a weight of one for everything."""
    found = policy("fair", **{"read_weight": 1.0, "write_weight": 1.0, **knobs})
    assert isinstance(found, Fair)
    return found


def test_the_client_that_was_served_least_goes_first() -> None:
    vtc = fair(write_weight=2.0)
    mine, yours = [Waiting(0.0, client="me", to_read=10)] * 2, Waiting(5.0, client="you", to_read=10)
    for waiting in (*mine, yours):
        vtc.joined(waiting)
    vtc.entered(mine[0])
    assert vtc.served == {"me": 10, "you": 0}
    assert order(vtc, [mine[1], yours]) == [1, 0]
    vtc.entered(yours)
    vtc.wrote([yours, yours, yours])
    assert vtc.served == {"me": 10, "you": 16}


def test_idling_earns_no_credit() -> None:
    vtc = fair()
    busy = Waiting(client="busy", to_read=100)
    for _ in range(2):
        vtc.joined(busy)
    vtc.entered(busy)
    late = Waiting(client="late")
    vtc.joined(late)
    assert vtc.served["late"] == 100, "as the least of those who wait"
    vtc.entered(late)
    vtc.entered(busy)
    assert vtc.served == {"busy": 200, "late": 110}
    new = Waiting(client="new")
    vtc.joined(new)
    assert vtc.served["new"] == 200, "as the one that left the line last"


def test_a_prompt_is_counted_once_however_often_it_is_put_off() -> None:
    vtc = fair()
    vtc.joined(Waiting(client="a", to_read=50))
    vtc.entered(Waiting(client="a", to_read=50))
    vtc.joined(Waiting(client="a", to_read=60, is_new=False))
    vtc.entered(Waiting(client="a", to_read=60, is_new=False))
    assert vtc.served == {"a": 50}


def test_names_of_clients_are_bounded() -> None:
    vtc = fair()
    for number in range(3 * MOST_CLIENTS):
        vtc.joined(Waiting(client=f"c{number}"))
        vtc.entered(Waiting(client=f"c{number}"))
    assert len(vtc.served) <= MOST_CLIENTS


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50)), min_size=30, max_size=120))
def test_backlogged_clients_get_the_same_within_one_request(line: list[tuple[str, int]]) -> None:
    """Theorem 4.4 of the paper: the counters of clients that wait all the time differ by no more than a request."""
    vtc = fair()
    waiting = [Waiting(float(place), client=client, to_read=n) for place, (client, n) in enumerate(line)]
    for one in waiting:
        vtc.joined(one)
    while {one.client for one in waiting} == set("abc"):
        nextone = min(waiting, key=vtc.key)
        waiting.remove(nextone)
        vtc.entered(nextone)
        counters = [vtc.served[client] for client in "abc"]
        assert max(counters) - min(counters) <= 50


@pytest.mark.parametrize(
    ("option", "knobs", "line"),
    [
        ("fcfs", {"max_step_tokens": 0}, "scheduling.max_step_tokens=0 must be at least 1"),
        ("fcfs", {"slots": 0}, "scheduling.slots=0 must be at least 1"),
        (
            "fair",
            {"kv_memory": "lots"},
            "scheduling.kv_memory=lots is not an amount of memory such as 256MiB or 1GiB",
        ),
        ("fcfs", {"prefix_share": 1.0}, "scheduling.prefix_share=1 must be more than 0 and less than 1"),
        ("shortest_prompt", {"window_ms": 0.0}, "scheduling.window_ms=0 must be more than 0"),
        ("fair", {"read_weight": -1.0}, "scheduling.read_weight=-1 must be at least 0"),
        ("deadline", {"slots": "few"}, "scheduling.slots=few must be a whole number or null"),
    ],
)
def test_a_mistake_is_one_line(option: str, knobs: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as caught:
        policy(option, **knobs)
    assert str(caught.value) == line


def test_without_a_cache_nothing_is_kept_for_it() -> None:
    assert policy(prefix_cache=False).prefix_share == 0
    assert policy(kv_memory="1KiB").kv_memory == 1024
