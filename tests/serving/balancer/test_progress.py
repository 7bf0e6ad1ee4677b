"""Who hangs and who is only busy: answers that stop while others' go on."""

from __future__ import annotations

import asyncio

import pytest
from sections import made
from turned_clock import Clock

from mlsys.serving.balancer.backend import Backend, Backends
from mlsys.serving.balancer.progress import LEAST, LEAST_S, Pace
from mlsys.serving.balancer.round_robin import RoundRobin

OPTIONS = made("server/lb")


def test_too_few_answers_say_nothing_and_a_factor_of_0_never_does() -> None:
    pace, never = Pace(1.5), Pace(0)
    for _ in range(LEAST - 1):
        pace.answered(1.0)
    limits = [pace.limit_s]
    pace.answered(1.0)
    assert [*limits, pace.limit_s] == [None, 1.5]
    for _ in range(100):
        never.answered(1.0)
    assert never.limit_s is None


def test_the_limit_follows_the_slow_ones_of_the_last_answers_and_is_never_a_blink() -> None:
    pace = Pace(2.0)
    for number in range(300):
        pace.answered(0.2 if number % 10 else 1.0)
    assert pace.limit_s == 2.0
    for _ in range(300):
        pace.answered(0.001)
    assert pace.limit_s == LEAST_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


def backends(clock: Clock, number: int) -> Backends:
    all_of_them = [Backend(f"replica-{index}", "http://a", OPTIONS, clock) for index in range(number)]
    found = Backends(all_of_them, RoundRobin("round_robin"), clock, hang_factor=1.5)
    for _ in range(LEAST):
        found.pace.answered(0.2)
    return found


def waiting(backend: Backend) -> asyncio.Task[None]:
    call = asyncio.create_task(asyncio.sleep(60))
    backend.take(call)
    return call


async def test_one_that_answers_nobody_is_asked_no_more_until_it_answers(clock: Clock) -> None:
    found = backends(clock, 2)
    hung, well = found.all
    calls = [waiting(backend) for backend in found.all]
    clock.now = 0.29
    well.answered(200)
    found.doubt()
    assert found.available() == [hung, well]
    clock.now = 0.31
    found.doubt()
    assert found.available() == [well]
    assert (hung.quiet, well.quiet, hung.stats()["doubted"]) == (True, False, True)
    hung.answered(429)
    assert found.available() == [hung, well]
    for call in calls:
        call.cancel()


async def test_where_all_are_late_it_is_the_load_and_nobody_is_doubted(clock: Clock) -> None:
    found = backends(clock, 3)
    calls = [waiting(backend) for backend in found.all]
    clock.now = 5.0
    found.doubt()
    assert found.available() == found.all
    for call in calls:
        call.cancel()


async def test_an_idle_replica_is_not_late_however_long_it_idles(clock: Clock) -> None:
    found = backends(clock, 2)
    clock.now = 100.0
    calls = [waiting(found.all[0])]
    found.doubt()
    assert found.available() == found.all
    assert found.patience_s(found.all[:1]) == pytest.approx(0.3)
    for call in calls:
        call.cancel()


async def test_a_replica_that_was_started_again_begins_without_doubts(clock: Clock) -> None:
    found = backends(clock, 2)
    hung = found.all[0]
    call = waiting(hung)
    clock.now = 1.0
    found.doubt()
    doubted = [hung.progress.doubted]
    hung.announce("http://b")
    assert [*doubted, hung.progress.doubted] == [True, False]
    call.cancel()
