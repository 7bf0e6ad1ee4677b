"""Pauses double, are bounded, and are forgotten."""

from mlsys.serving.balancer.backoff import Backoff


def test_doubles_up_to_the_most() -> None:
    backoff = Backoff(0.5, 5)
    assert [backoff.after(1) for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]


def test_a_steady_run_is_forgiven() -> None:
    backoff = Backoff(0.5, 30)
    backoff.after(1)
    backoff.after(1)
    assert backoff.after(3600) == 0.5
    assert backoff.after(1) == 1


def test_no_overflow_after_many_deaths() -> None:
    backoff = Backoff(0.5, 30)
    assert {backoff.after(0) for _ in range(5000)} == {0.5, 1, 2, 4, 8, 16, 30}
