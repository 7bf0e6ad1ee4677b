from __future__ import annotations

from typing import Any

import pytest
from sections import arrivals

from mlsys.errors import UserError


def search(
    limit_rps: float, invalid_above_rps: float = float("inf"), **knobs: Any
) -> tuple[list[float], dict[str, Any]]:
    """The rates tried against a service that meets the SLO up to `limit_rps`."""
    found = arrivals("slo_search", **knobs)
    done: list[tuple[float, dict[str, Any]]] = []
    while (rate := found.next_level(done)) is not None:
        values = {"goodput": 1.0 if rate <= limit_rps else 0.5, "valid": rate <= invalid_above_rps}
        done.append((rate, values))
        assert len(done) < 50
    return [rate for rate, _ in done], found.conclusion(done)


def test_doubles_then_bisects() -> None:
    rates, found = search(11, request_rate=2, tolerance=0.1)
    assert rates == [2, 4, 8, 16, 12, 10, 11]
    assert found == {
        "slo.max_rate_rps": 11,
        "slo.missed_rate_rps": 12,
        "slo.ended": "within loadtest.tolerance=0.1",
    }


def test_halves_where_the_first_rate_is_too_much() -> None:
    rates, found = search(0.3, request_rate=1, tolerance=0.25)
    assert rates == [1, 0.5, 0.25, 0.375, 0.3125]
    assert (found["slo.max_rate_rps"], found["slo.missed_rate_rps"]) == (0.25, 0.3125)


def test_stops_where_the_client_is_the_limit() -> None:
    rates, found = search(1e9, invalid_above_rps=50, request_rate=20)
    assert rates == [20, 40, 80]
    assert found == {
        "slo.max_rate_rps": 40,
        "slo.missed_rate_rps": 80,
        "slo.ended": "the client was the limit",
    }


def test_gives_up_after_max_levels() -> None:
    rates, found = search(0, request_rate=1, max_levels=4)
    assert rates == [1, 0.5, 0.25, 0.125]
    assert found == {
        "slo.max_rate_rps": None,
        "slo.missed_rate_rps": 0.125,
        "slo.ended": "loadtest.max_levels=4",
    }


def test_luck_above_a_miss_does_not_count() -> None:
    done = [(1.0, {"goodput": 1.0, "valid": True}), (2.0, {"goodput": 0.9, "valid": True})]
    done.append((4.0, {"goodput": 1.0, "valid": True}))
    found = arrivals("slo_search").conclusion(done)
    assert (found["slo.max_rate_rps"], found["slo.missed_rate_rps"], found["slo.ended"]) == (1.0, 2.0, None)


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("share", 1.5, "loadtest.share=1.5 must be more than 0 and at most 1"),
        ("tolerance", 0, "loadtest.tolerance=0 must be more than 0"),
        ("max_total_s", 0, "loadtest.max_total_s=0 must be more than 0"),
        ("max_levels", 0, "loadtest.max_levels=0 must be a whole number of at least 1"),
        ("request_rate", -1, "loadtest.request_rate=-1 must be more than 0"),
    ],
)
def test_bad_values_are_named(knob: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        arrivals("slo_search", **{knob: value})
    assert str(caught.value) == message
