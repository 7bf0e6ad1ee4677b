"""Silence on a clock that the test turns."""

import pytest
from turned_clock import Clock

from mlsys.serving.balancer.silence import Silence


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def silence(clock: Clock) -> Silence:
    silence = Silence(1.0, clock)
    silence.heard()
    return silence


def test_a_request_on_a_stopped_replica_waits_one_and_a_half_times_the_limit(
    silence: Silence, clock: Clock
) -> None:
    events = []
    for step in range(8):
        clock.now = 100 + step / 4
        if silence.due(waiting=1):
            silence.asked()
        events.append(silence.silent())
    assert events == [False] * 6 + [True] * 2, "a check at 0.5 s, silent at 1.5 s"


def test_nobody_waits_nobody_is_checked(silence: Silence, clock: Clock) -> None:
    clock.now += 1000
    assert not silence.due(waiting=0)
    assert not silence.silent()


def test_who_answers_is_not_checked(silence: Silence, clock: Clock) -> None:
    for _ in range(10):
        clock.now += 0.4
        assert not silence.due(waiting=9)
        silence.heard()


def test_a_slow_answer_is_no_silence_as_long_as_checks_are_answered(silence: Silence, clock: Clock) -> None:
    for _ in range(600):
        clock.now += 0.6
        assert silence.due(waiting=1)
        silence.asked()
        assert not silence.silent()
        silence.heard()


def test_once_silent_it_is_checked_until_it_is_heard(silence: Silence, clock: Clock) -> None:
    clock.now += 1
    silence.asked()
    clock.now += 1
    assert silence.silent()
    silence.asked()
    assert silence.silent(), "asking again is no sound"
    assert silence.due(waiting=0), "its requests have gone elsewhere"
    silence.heard()
    assert not silence.silent()
    assert not silence.due(waiting=1)


def test_nought_means_never(clock: Clock) -> None:
    silence = Silence(0.0, clock)
    silence.asked()
    clock.now += 1000
    assert not silence.silent()
