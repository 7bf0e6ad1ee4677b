"""Where requests go, exactly."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sections import made

from mlsys.errors import UserError
from mlsys.serving.balancer import Policy
from mlsys.serving.balancer.least_in_flight import LeastInFlight
from mlsys.serving.balancer.power_of_two import PowerOfTwo
from mlsys.serving.balancer.prefix_affinity import PrefixAffinity
from mlsys.serving.balancer.round_robin import RoundRobin
from mlsys.serving.request import Request, Wish


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


def affine(bound: float = 1.25, remembered: int = 2) -> PrefixAffinity:
    return PrefixAffinity("prefix_affinity", bound, remembered)


def asked(query: str, **wish: Any) -> Request:
    return Request(query, 2, wish=Wish(**wish))


def test_questions_with_the_same_first_passage_go_where_it_was_read() -> None:
    policy, replicas = affine(remembered=50), [Replica(name) for name in "abcdefgh"]
    questions = [asked(f"question {number}") for number in range(20)]
    for question in questions:
        policy.learn(question, [7, 3])
    assert len({policy.choose_for(replicas, question).name for question in questions}) == 1
    assert len({policy.choose_for(replicas, asked(f"new {number}")).name for number in range(20)}) > 3


def test_a_conversation_stays_where_it_began() -> None:
    policy, replicas = affine(), [Replica(name) for name in "abcdefgh"]
    first = {"role": "user", "content": "Hello"}
    turns = [[first], [first, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Why?"}]]
    assert (
        len({policy.choose_for(replicas, asked(str(turn), messages=tuple(turn))).name for turn in turns}) == 1
    )
    assert policy.prefix(asked("q", messages=({"role": "assistant", "content": "x"},))) == "conversation x"
    text = "x" * 300
    assert policy.prefix(asked("", prompt=text)) == policy.prefix(asked("", prompt=f"{text}and more"))


def test_a_popular_prefix_makes_no_replica_busier_than_its_share() -> None:
    policy, replicas = affine(), [Replica("a"), Replica("b"), Replica("c")]
    for _ in range(30):
        policy.choose_for(replicas, asked("the same")).in_flight += 1
    assert max(replica.in_flight for replica in replicas) == 13, "1.25 times 10, rounded up"
    assert min(replica.in_flight for replica in replicas) >= 4


def test_a_replica_that_leaves_moves_only_its_own_prefixes() -> None:
    policy, replicas = affine(), [Replica(name) for name in "abcd"]
    questions = [asked(f"question {number}") for number in range(40)]
    before = [policy.choose_for(replicas, question).name for question in questions]
    after = [policy.choose_for(replicas[:-1], question).name for question in questions]
    assert [name for name in before if name != "d"] == [
        a for b, a in zip(before, after, strict=True) if b != "d"
    ]


def test_the_questions_used_last_are_remembered() -> None:
    policy = affine(remembered=2)
    one, two, three = asked("1"), asked("2"), asked("3")
    policy.learn(one, [4])
    policy.learn(two, [5])
    assert policy.prefix(one) == "passage 4"
    policy.learn(three, [6])
    assert [policy.prefix(question) for question in (one, two, three)] == [
        "passage 4",
        "question 2",
        "passage 6",
    ]
    policy.learn(asked("4"), [])
    assert policy.prefix(one) == "passage 4"


@pytest.mark.parametrize(("bound", "remembered"), [(0.9, 1), (float("inf"), 1), (1.0, 0)])
def test_a_bound_below_an_even_share_is_none(bound: float, remembered: int) -> None:
    with pytest.raises(UserError, match=r"balancer\.(bound|remembered)="):
        affine(bound, remembered)


@given(
    loads=st.lists(st.integers(0, 50), min_size=1, max_size=8),
    bound=st.floats(1, 3),
    query=st.text(max_size=9),
)
def test_there_is_always_room_somewhere(loads: list[int], bound: float, query: str) -> None:
    replicas = [Replica(str(number), load) for number, load in enumerate(loads)]
    chosen = affine(bound).choose_for(replicas, asked(query))
    assert chosen.in_flight < bound * (sum(loads) + 1) / len(loads) + 1


@pytest.mark.parametrize("policy", ["round_robin", "least_in_flight", "power_of_two", "prefix_affinity"])
@given(loads=st.lists(st.integers(0, 50), min_size=1, max_size=8))
def test_the_choice_is_one_of_the_candidates(policy: Callable[[], Policy], loads: list[int]) -> None:
    replicas = [Replica(str(number), load) for number, load in enumerate(loads)]
    assert made(f"balancer/{policy}").choose(replicas) in replicas
