"""When another server is believed to be down, and when it is asked again."""

from __future__ import annotations

from turned_clock import Clock

from mlsys.rag.upstream.health import Health, Trouble

GONE = Trouble("cannot be reached: Connection refused", is_certain=True)
SLOW = Trouble("does not answer in time", is_certain=False)


def test_a_server_without_a_connection_is_down_until_it_answers() -> None:
    clock = Clock()
    health = Health(5.0, clock)
    assert (health.trouble, health.interval_s) == (None, 5.0)
    health.checked(GONE)
    assert (health.trouble, health.interval_s) == (GONE.why, 1.0)
    clock.now += 7
    health.checked(GONE)
    assert (health.down_s(), health.outages) == (7.0, 1)
    health.checked(None)
    assert (health.trouble, health.down_s(), health.interval_s) == (None, 0.0, 5.0)


def test_a_slow_one_is_asked_once_more() -> None:
    health = Health(5.0)
    health.checked(SLOW)
    assert (health.trouble, health.interval_s) == (None, 0.25)
    health.checked(SLOW)
    assert (health.trouble, health.interval_s) == (SLOW.why, 1.0)


def test_one_that_answers_requests_is_busy_and_not_down() -> None:
    health = Health(5.0)
    for _ in range(5):
        health.asked()
        health.heard()
        health.checked(SLOW)
    assert (health.trouble, health.outages) == (None, 0)
    health.heard()
    health.checked(GONE)
    assert health.trouble == GONE.why


def test_what_was_heard_before_a_check_says_nothing_of_a_server_that_has_frozen_since() -> None:
    health = Health(5.0)
    health.heard()
    for trouble in (None, SLOW.why):
        health.asked()
        health.checked(SLOW)
        assert health.trouble == trouble
