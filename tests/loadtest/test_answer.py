from __future__ import annotations

from typing import Any

import pytest

from mlsys.loadtest.answer import digest, judge
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


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"query": "What?"}, "the answer is to another query"),
        ({"result": "  "}, "the answer has no result"),
        ({"result": None}, "the answer has no result"),
        ({"tokens": 31}, "the answer has 31 tokens instead of 32"),
        ({"timings_ms": 3}, "the answer has another form"),
        ({"passages": None}, "the answer has another form"),
    ],
)
def test_status_200_is_not_enough(change: dict[str, Any], error: str) -> None:
    row = judged(200, GOOD | change)
    assert (row.outcome, row.error, row.answer) == (FAILED, error, None)


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


def test_an_unknown_passage_is_a_miss() -> None:
    assert judged(200, GOOD | {"passages": [{"id": 1}]}).hit is False
