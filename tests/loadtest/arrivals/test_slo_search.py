from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from sections import arrivals

from mlsys.errors import UserError
from mlsys.loadtest.certify.autocorrelation import effective_size
from mlsys.theory.deterministic import Deterministic


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


def bounds(found: dict[str, Any]) -> dict[str, Any]:
    """What a search says of the rates that it tried."""
    return {name: found[name] for name in ("slo.max_rate_rps", "slo.missed_rate_rps", "slo.ended")}


def level(goodput: float, requests: int, **more: Any) -> dict[str, Any]:
    return {"goodput": goodput, "valid": True, "requests": requests, **more}


def test_a_rate_that_chance_may_have_decided_is_tried_again_with_other_arrivals() -> None:
    found = arrivals("slo_search", request_rate=10.0, confirm=1)
    first = found.next_level([])
    once = list(itertools.islice(gaps(found.process(first, 5)), 20))
    assert found.next_level([(first, level(0.94, 50))]) == first
    assert list(itertools.islice(gaps(found.process(first, 5)), 20)) != once, "no level's luck is another's"
    assert found.next_level([(first, level(0.94, 50)), (first, level(0.98, 50))]) == 20
    assert found.next_level([(first, level(0.94, 50)), (first, level(0.90, 50))]) == 5


def gaps(process: Any) -> Iterator[float]:
    while True:
        yield process.due_s(0.0, 0)
        process.sent()


def one_by_one(rate: float, process: Any, requests: int, service_s: float, limit_s: float) -> dict[str, Any]:
    """A level of a service that takes each request in turn, and the same time for each."""
    free_s, times = 0.0, np.empty(requests)
    for number, due_s in enumerate(itertools.islice(gaps(process), requests)):
        free_s = max(free_s, due_s) + service_s
        times[number] = free_s - due_s
    good = (times <= limit_s).astype(float)
    told = good if 0 < good.mean() < 1 else times
    return level(good.mean(), requests, **{"goodput.effective_requests": effective_size([told])})


def test_the_interval_of_a_capacity_mostly_holds_it() -> None:
    """M/D/1. It did in 127 of 150 searches, and in 105 where all levels had one pattern, stretched."""
    capacity = brentq(lambda rate: Deterministic(rate, 22.0).cdf(60.0) - 0.95, 15, 25)
    held = 0
    for seed in range(50):
        found, done = arrivals("slo_search", request_rate=10.0, slo_ms=60.0), list[tuple[float, Any]]()
        while (rate := found.next_level(done)) is not None:
            done.append((rate, one_by_one(rate, found.process(rate, seed), 1000, 0.022, 0.06)))
        said = found.conclusion(done)
        held += (said["slo.capacity_low_rps"] or 0) <= capacity <= (said["slo.capacity_high_rps"] or np.inf)
    assert held >= 40


@pytest.mark.parametrize(
    ("goodput", "requests", "following"), [(1.0, 60, 20), (0.5, 60, 5), (0.94, 20_000, 5)]
)
def test_a_rate_that_is_sure_is_not_tried_again(goodput: float, requests: int, following: float) -> None:
    found = arrivals("slo_search", request_rate=10.0, confirm=3)
    assert found.next_level([(10.0, level(goodput, requests))]) == following


def test_what_requests_are_worth_decides_and_not_how_many_they_are() -> None:
    found = arrivals("slo_search", request_rate=10.0, confirm=1)
    sure = level(0.90, 2_000)
    assert found.next_level([(10.0, sure)]) == 5
    assert found.next_level([(10.0, sure | {"goodput.effective_requests": 30.0})]) == 10


def test_a_search_ends_with_an_interval_and_the_knee() -> None:
    figures = {"throughput_rps": 10.0, "e2e_ms.mean": 20.0}
    done = [(10.0, level(1.0, 400, **figures)), (20.0, level(0.5, 400, **figures | {"throughput_rps": 19.0}))]
    done += [(15.0, level(0.96, 400, **figures | {"e2e_ms.mean": 200.0})), (15.0, level(0.97, 400))]
    found = arrivals("slo_search").conclusion(done)
    assert found["slo.repeated"] == 1
    assert found["slo.knee_rps"] == 20
    assert found["slo.capacity_low_rps"] < found["slo.capacity_rps"] < found["slo.capacity_high_rps"]
    assert found["slo.capacity_rps"] == pytest.approx(15 + 5 * 0.015 / 0.465, rel=1e-6)


def test_doubles_then_bisects() -> None:
    rates, found = search(11, request_rate=2, tolerance=0.1)
    assert rates == [2, 4, 8, 16, 12, 10, 11]
    assert bounds(found) == {
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
    assert bounds(found) == {
        "slo.max_rate_rps": 40,
        "slo.missed_rate_rps": 80,
        "slo.ended": "the client was the limit",
    }


def test_gives_up_after_max_levels() -> None:
    rates, found = search(0, request_rate=1, max_levels=4)
    assert rates == [1, 0.5, 0.25, 0.125]
    assert bounds(found) == {
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
        ("confirm", -1, "loadtest.confirm=-1 must be a whole number of at least 0"),
        ("max_levels", 0, "loadtest.max_levels=0 must be a whole number of at least 1"),
        ("request_rate", -1, "loadtest.request_rate=-1 must be more than 0"),
    ],
)
def test_bad_values_are_named(knob: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        arrivals("slo_search", **{knob: value})
    assert str(caught.value) == message
