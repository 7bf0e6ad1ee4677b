"""Rise, fall, ejection, and what is neutral."""

import pytest

from mlsys.serving.balancer.health import Health


def health(up: bool = True) -> Health:
    return Health(rise=2, fall=3, eject_after=5, eject_s=30, eject_max_s=70, up=up)


def test_falls_after_three_bad_checks_in_a_row() -> None:
    state = health()
    assert [state.checked(False) for _ in range(2)] == [False, False]
    state.checked(True)
    assert [state.checked(False) for _ in range(3)] == [False, False, True]
    assert not state.up


def test_rises_after_two_good_checks_in_a_row() -> None:
    state = health(up=False)
    state.checked(True)
    state.checked(False)
    assert [state.checked(True) for _ in range(2)] == [False, True]
    assert state.up


def test_ejected_after_five_failures_in_a_row_longer_each_time() -> None:
    state = health()
    for start, length in ((0.0, 30), (100.0, 60), (200.0, 70), (300.0, 70)):
        assert [state.answered(500, start) for _ in range(5)] == [False] * 4 + [True]
        assert state.ejected(start + length - 0.01)
        assert not state.ejected(start + length)


def test_a_failed_connection_counts_and_a_success_forgives() -> None:
    state = health()
    for status in (None, None, 502, 500, 200, None, None, None, None):
        assert not state.answered(status, 0.0)
    assert state.answered(None, 0.0)


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429, 503, 504])
def test_what_is_no_fault_of_the_replica_is_neutral(status: int) -> None:
    state = health()
    for _ in range(4):
        state.answered(500, 0.0)
    for _ in range(20):
        assert not state.answered(status, 0.0)
    assert state.answered(500, 0.0), "neutral answers must not forgive either"


def test_failures_during_ejection_do_not_prolong_it() -> None:
    state = health()
    for _ in range(5):
        state.answered(500, 0.0)
    for _ in range(20):
        assert not state.answered(500, 10.0)
    assert not state.ejected(30.0)
    assert state.ejections == 1


def test_a_restart_is_a_clean_start() -> None:
    state = health()
    for _ in range(5):
        state.answered(None, 0.0)
    state.set(up=True)
    assert state.up
    assert not state.ejected(0.0)
