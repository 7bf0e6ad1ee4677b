from __future__ import annotations

from typing import Any

import pytest

from mlsys import progress
from mlsys.loadtest import announcing

WELL: dict[str, Any] = {
    "invalid_reason": None,
    "succeeded": 200,
    "failed": 0,
    "timed_out": 0,
    "e2e_ms.p50": 20.0,
    "e2e_ms.p99": 30.0,
    "most_frequent_error": None,
}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(progress, "say", lines.append)
    return lines


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"invalid_reason": "the client was late"}, "this level is not valid: the client was late"),
        ({"e2e_ms.p99": None, "succeeded": 60}, "no p99 of 60 answers: it takes 100 (loadtest.requests)"),
        ({"most_frequent_error": "timeout", "failed": 2, "timed_out": 3}, "5 failed, mostly: timeout"),
    ],
)
def test_what_is_not_well_with_a_level_is_a_line(said: list[str], values: dict[str, Any], line: str) -> None:
    announcing.doubts(WELL)
    assert said == []
    announcing.doubts(WELL | values)
    assert said == [line]


def test_a_search_says_its_interval_and_why_it_ended(said: list[str]) -> None:
    values: dict[str, Any] = {"slo.max_rate_rps": 58.04, "slo.ended": "close enough"}
    announcing.found({"e2e_ms": 100.0}, values)
    announcing.found(
        {"e2e_ms": 100.0}, values | {"slo.capacity_low_rps": 55.0, "slo.capacity_high_rps": 60.0}
    )
    assert said == [
        "58.04 requests/s meet e2e_ms<=100 (the search ended: close enough)",
        "58.04 requests/s meet e2e_ms<=100, the capacity is 55 to 60 with 95 % confidence"
        " (the search ended: close enough)",
    ]
