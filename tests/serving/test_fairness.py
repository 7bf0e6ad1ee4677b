"""Clients that share a service: turns in line, and who gives its place up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sections import made
from serving_doubles import FakePipeline, Gate, eventually
from turned_clock import Clock

from mlsys.serving.balancer.door import Door
from mlsys.serving.batching import Policy
from mlsys.serving.batching.single import Single
from mlsys.serving.fairness import Line, Places
from mlsys.serving.http.keyring import whose
from mlsys.serving.request import Expired, Refused, Request, Wish
from mlsys.serving.scheduler import Scheduler

CLOCK = Clock()


def asked(client: str, query: str = "") -> Request:
    return Request(query or client, 1, clock=CLOCK, wish=Wish(client=client))


def lined(clients: str, fair: bool = True) -> Line:
    line = Line(fair)
    for number, client in enumerate(clients):
        line.append(asked(client, f"{client}{number}"))
    return line


def queries(requests: Sequence[Request]) -> list[str]:
    return [request.query for request in requests]


def test_clients_are_served_in_turn_and_each_in_its_own_order() -> None:
    line = lined("aaaaabcb")
    assert queries(line.take(5)) == ["a0", "b5", "c6", "a1", "b7"]
    assert queries(line.take(9)) == ["a2", "a3", "a4"]
    assert not line
    assert queries(lined("aaab", fair=False).take(4)) == ["a0", "a1", "a2", "b3"]


def test_users_of_one_key_share_its_turns() -> None:
    line = lined("")
    for client in ("key/x", "key/y", "key/z", "other"):
        line.append(asked(client))
    assert queries(line.take(4)) == ["key/x", "other", "key/y", "key/z"]
    assert [whose("key", "x"), whose("", "x"), whose("key", None), whose("", None)] == [
        "key/x",
        "x",
        "key",
        "",
    ]
    assert len(whose("k" * 16, "u" * 200)) == 200, "a balancer sends it on, as `user`"


def test_who_is_put_back_goes_first_and_who_leaves_is_gone() -> None:
    line = lined("aab")
    first = line.take(2)
    line.append(asked("c"))
    line.put_back(first)
    (last,) = [request for request in line if request.query == "c"]
    line.remove(last)
    line.remove(first[0])
    with pytest.raises(ValueError, match="not in deque"):
        line.remove(last)
    assert len(line) == 2
    assert queries(line.take(9)) == ["b2", "a1"]


def test_the_oldest_is_whoever_waits_longest_of_all() -> None:
    line, clock = Line(fair=True), Clock()
    for client in "aab":
        line.append(Request("", 1, clock=clock, wish=Wish(client=client)))
        clock.now += 1
    line.take(1)
    assert line.oldest_at == 1.0
    line.take(1)
    assert line.oldest_at == 1.0, "it was the other's turn"


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(1, 5))
def test_backlogged_clients_are_served_equally_within_one_request(clients: list[str], size: int) -> None:
    line = lined("".join(clients))
    served: dict[str, int] = dict.fromkeys("abc", 0)
    left = {client: clients.count(client) for client in "abc"}
    while len(line):
        for request in line.take(size):
            served[request.wish.client] += 1
            left[request.wish.client] -= 1
        waiting = [served[client] for client in "abc" if left[client]]
        assert max(waiting, default=0) - min(waiting, default=0) <= 1
    assert not any(left.values())


def test_the_newest_of_the_client_with_most_gives_its_place() -> None:
    places, requests = Places(fair=True), [asked(client) for client in "aaaab"]
    for request in requests:
        places.enter(request)
    assert places.yields("b", lambda _: True) is requests[3]
    assert places.yields("a", lambda _: True) is None
    assert places.yields("c", lambda request: request in requests[:2]) is requests[1], "what has begun stays"
    places.leave(requests[3])
    places.leave(requests[2])
    assert places.yields("b", lambda _: True) is None, "both would have two"
    assert Places(fair=False).yields("c", lambda _: True) is None


async def one(line: Scheduler, client: str) -> str:
    try:
        await line.answer(asked(client))
    except Refused as error:
        return error.message
    return "answered"


@pytest.mark.parametrize("fair", [True, False])
async def test_a_polite_client_gets_into_a_full_line_and_its_turn(fair: bool) -> None:
    pipeline, gate = FakePipeline(), Gate()
    policy: Policy = Single()
    line = Scheduler(made("server/queue", max_queue=4, fair_keys=fair), [pipeline], policy)
    await line.start()
    pipeline.calls.clear()
    pipeline.hooks["generate"] = gate
    greedy = [asyncio.create_task(one(line, "greedy"))]
    await gate.reached()
    greedy += [asyncio.create_task(one(line, "greedy")) for _ in range(4)]
    await eventually(lambda: line.queued() == 4)
    polite = asyncio.create_task(one(line, "polite"))
    await asyncio.sleep(0.01)
    gate.opened.set()
    ends = await asyncio.gather(*greedy)
    assert [end for end in ends if end != "answered"] == (
        ["the queue is full, and its place went to a client that has fewer"] if fair else []
    )
    assert (await polite == "answered") == fair
    if fair:
        assert [queries[0] for queries in pipeline.batches()] == [
            "greedy",
            "greedy",
            "polite",
            "greedy",
            "greedy",
        ]
    await line.close(drained=True)


async def test_a_balancers_place_goes_to_the_client_with_fewer() -> None:
    door, stay = Door(2, fair=True), asyncio.Event()

    async def inside(client: str, timeout_ms: float | None = None) -> str:
        request = Request("", 1, timeout_ms, wish=Wish(client=client))
        try:
            door.check(client)
            await door.let(request, lambda _: stay.wait())
        except (Refused, Expired) as error:
            return type(error).__name__
        return "answered"

    tasks = [
        asyncio.create_task(inside(client)) for client in ("greedy", "greedy", "greedy", "polite", "third")
    ]
    await asyncio.sleep(0.01)
    stay.set()
    assert await asyncio.gather(*tasks) == ["answered", "Refused", "Refused", "answered", "Refused"], (
        "one each"
    )
    stay.clear()
    assert await inside("hurried", timeout_ms=1) == "Expired"
    assert door.in_flight == 0
