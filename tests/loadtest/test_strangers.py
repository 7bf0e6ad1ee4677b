"""A service may answer anything: then requests fail, and the level with its rows, figures and record still stands."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scalars import number

from mlsys import bodies
from mlsys.loadtest import server_counters
from mlsys.loadtest.agreement import describe
from mlsys.loadtest.answer import judge, retry_after_s
from mlsys.loadtest.client_health import validity
from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FAILED, OK, Row, table, write
from mlsys.loadtest.statistics import summarise

QUESTION = Question(0, "Why?", 7)
FIELDS = ("query", "result", "timings_ms", "passages", "batch_size", "tokens", "replica", "request_id")
GOOD: dict[str, Any] = {
    "query": "Why?",
    "result": "Because.",
    "passages": [{"id": 7}],
    "timings_ms": {"queue": 1.0, "generate": 5},
    "batch_size": 4,
    "tokens": 32,
    "replica": "a",
    "request_id": "b",
}
ODD = st.sampled_from(
    [
        10**30,
        -1,
        0,
        10**400,
        1e308,
        -1e308,
        math.inf,
        -math.inf,
        math.nan,
        "\ud800",
        "\x00",
        "x" * 500,
        True,
        None,
    ]
)
NUMBERS = st.integers() | st.floats()
ANYTHING = st.recursive(
    ODD | NUMBERS | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TIMINGS = st.dictionaries(
    st.sampled_from(["queue", "generate", "total", "x"]), ANYTHING | st.just(1.0), max_size=3
)


def answers() -> st.SearchStrategy[dict[str, Any]]:
    odd = st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=2)
    timings = st.fixed_dictionaries({}, optional={"timings_ms": TIMINGS})
    return st.builds(lambda one, two: GOOD | one | two, timings, odd)


def answered(body: Any) -> Row:
    """A row after an answer with this body, which travels as JSON does."""
    row = Row(0, 0, phase=MEASURED, status=200, done_s=0.5)
    judge(row, QUESTION, bodies.parse(json.dumps(body).encode()), None)
    return row


def is_finite(value: Any) -> bool:
    return not isinstance(value, (int, float)) or math.isfinite(value)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, database=None)
@given(st.lists(answers(), min_size=1, max_size=4))
def test_no_answer_loses_a_level(told: list[dict[str, Any]]) -> None:
    rows = [answered(body) for body in told]
    values, _ = summarise([rows], limits={"e2e_ms": 100.0})
    verdict = validity(rows, [], 0.1, open_loop=True)
    assert number(values["succeeded"]) + number(values["failed"]) == len(rows)
    assert all(is_finite(value) for value in [*values.values(), *verdict.values(), *describe(rows).values()])
    json.dumps(values, allow_nan=False).encode()
    assert {row.outcome for row in rows} <= {OK, FAILED}
    assert len(table(rows)) == len(rows)


def test_the_rows_of_odd_answers_can_be_written(tmp_path: Path) -> None:
    odd = [10**30, -1, 10**400, math.inf, math.nan, "\ud800", "\x00", "x" * 500, True, [1], {"a": 1}]
    rows = [answered(GOOD)] + [answered(GOOD | {field: value}) for field in FIELDS for value in odd]
    read = pd.read_parquet(write(tmp_path, rows))
    assert read["outcome"].iloc[0] == OK
    assert (read["outcome"] == FAILED).sum() > 50


@settings(max_examples=150, deadline=None, database=None)
@given(
    ANYTHING
    | st.dictionaries(
        st.sampled_from(["closed", "front", "pipeline", "replicas"]),
        st.dictionaries(st.text(max_size=3), ANYTHING),
    )
)
def test_no_stats_lose_a_level(content: Any) -> None:
    told = server_counters.read(bodies.parse(json.dumps(content).encode()))
    before = server_counters.Stats(closed={"full": 0})
    found = server_counters.difference(before, told) | dict(told.pipeline) | dict(told.gpus)
    assert all(is_finite(value) for value in found.values())
    json.dumps(found, allow_nan=False).encode()
    assert all(count >= 0 for count in told.closed.values())


@settings(max_examples=150, deadline=None, database=None)
@given(st.text(max_size=10) | NUMBERS.map(str))
def test_a_retry_after_is_none_or_a_time_that_can_be_waited(header: str) -> None:
    seconds = retry_after_s({"Retry-After": header})
    assert seconds is None or 0 <= seconds <= 86_400


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"query": ' + b"9" * 5000 + b"}", b"\xff", b""])
def test_what_cannot_be_parsed_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"deep|digits|decode|Expecting"):
        bodies.parse(content)
