from __future__ import annotations

from typing import Any

import pytest

from mlsys.loadtest.answer import digest, judge, replica, retry_after_s
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FAILED, OK, REJECTED, TIMED_OUT, Row

QUESTION = Question(0, "Why?", 7)
GOOD: dict[str, Any] = {
    "query": "Why?",
    "result": "Because.",
    "passages": [{"id": 3, "text": "a"}, {"id": 7, "text": "b"}],
    "timings_ms": {"queue": 1.0, "generate": 5, "total": 6.0},
    "batch_size": 4,
    "tokens": 32,
    "replica": "replica-1",
    "request_id": "abc",
}


def judged(status: int, body: Any, expected_tokens: int | None = 32) -> Row:
    row = Row(0, 0, status=status)
    judge(row, QUESTION, body, expected_tokens)
    return row


def test_a_good_answer_is_read() -> None:
    row = judged(200, GOOD)
    assert (row.outcome, row.error, row.hit, row.batch_size, row.tokens) == (OK, None, True, 4, 32)
    assert (row.queue_ms, row.embed_ms, row.generate_ms) == (1.0, None, 5.0)
    assert (row.replica, row.request_id, row.answer) == ("replica-1", "abc", digest("Because."))


def test_the_least_that_a_foreign_service_must_say() -> None:
    row = judged(200, {"query": "Why?", "result": "x"})
    assert (row.outcome, row.hit, row.batch_size) == (OK, None, None)
    assert judged(200, dict.fromkeys(GOOD) | {"query": "Why?", "result": "x"}).outcome == OK
    assert judged(200, GOOD | {"request_id": 7, "batch_size": 4.0}).request_id == "7"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"query": "What?"}, "the answer is to another query"),
        ({"result": "  "}, "the answer has no result"),
        ({"result": None}, "the answer's result: Input should be a valid string"),
        ({"tokens": 31}, "the answer has 31 tokens instead of 32"),
        ({"timings_ms": 3}, "the answer's timings_ms: Input should be"),
        ({"timings_ms": {"queue": 10**400}}, "the answer's timings_ms.queue: Input should be"),
        (
            {"timings_ms": {"queue": float("inf")}},
            "the answer's timings_ms.queue: Input should be a finite number",
        ),
        ({"timings_ms": {"queue": "1"}}, "the answer's timings_ms.queue: Input should be a valid number"),
        ({"passages": "none"}, "the answer's passages: Input should be a valid list"),
        ({"batch_size": -1}, "the answer's batch_size: Input should be greater than or equal to 1"),
        ({"tokens": 10**30}, "the answer's tokens: Input should be less than or equal to 2147483647"),
        ({"replica": "\ud800"}, "the answer's replica: Input should be a valid string"),
        ({"replica": "\x1b[2J"}, "the answer's replica: String should match pattern"),
        ({"request_id": [1]}, "the answer's request_id: Input should be a valid string"),
    ],
)
def test_status_200_is_not_enough(change: dict[str, Any], error: str) -> None:
    row = judged(200, GOOD | change)
    assert (row.outcome, row.answer) == (FAILED, None)
    assert row.error is not None
    assert row.error.startswith(error)


@pytest.mark.parametrize("body", [None, [], "fine", {"error": "out of memory"}])
def test_an_error_body_with_status_200_is_a_failure(body: Any) -> None:
    assert judged(200, body).outcome == FAILED


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(429, REJECTED), (503, REJECTED), (504, TIMED_OUT), (500, FAILED), (422, FAILED), (202, FAILED)],
)
def test_other_statuses(status: int, outcome: str) -> None:
    row = judged(status, GOOD)
    assert (row.outcome, row.error) == (outcome, f"status {status}")


def test_a_redirect_is_a_failure_that_says_why() -> None:
    row = judged(307, None)
    assert (row.outcome, row.error) == (FAILED, "status 307: a redirect is not followed")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("nan", None),
        ("-5", None),
        ("inf", None),
        ("1e300", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_retry_after_is_a_time_from_now_to_a_day(header: str, seconds: float | None) -> None:
    assert retry_after_s({"Retry-After": header}) == seconds
    assert retry_after_s({}) is None


def test_an_unknown_passage_is_a_miss() -> None:
    assert judged(200, GOOD | {"passages": [{"id": 1}]}).hit is False


@pytest.mark.parametrize(
    ("header", "name"),
    [("http://10.0.0.1:8000", "http://10.0.0.1:8000"), ("", None), ("x" * 201, None), ("\x1b", None)],
)
def test_a_balancer_names_a_replica_that_does_not_name_itself(header: str, name: str | None) -> None:
    assert replica({"X-Replica": header}) == name
    assert replica({}) is None
    row = Row(0, 0, status=200, replica=name)
    judge(row, QUESTION, GOOD | {"replica": None}, 32)
    assert row.replica == name
    judge(row, QUESTION, GOOD, 32)
    assert row.replica == "replica-1"
