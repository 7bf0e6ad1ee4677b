"""Whether an answer is one: with status 200 it can still be an error, to another question, or empty."""

from __future__ import annotations

import hashlib
from typing import Any

from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FAILED, OK, REJECTED, STAGES, TIMED_OUT, Row

REJECTING = (429, 503)
DEADLINE = (408, 504)


def judge(row: Row, question: Question, body: Any, expected_tokens: int | None) -> None:
    """Set the row's outcome and what the answer tells, from its status and its parsed JSON `body`."""
    if row.status in REJECTING:
        row.outcome, row.error = REJECTED, f"status {row.status}"
    elif row.status in DEADLINE:
        row.outcome, row.error = TIMED_OUT, f"status {row.status}"
    elif row.status != 200:
        row.outcome, row.error = FAILED, f"status {row.status}"
    elif (wrong := fault(question, body, expected_tokens)) is not None:
        row.outcome, row.error = FAILED, wrong
    else:
        row.outcome = OK
        _read(row, question, body)


def fault(question: Question, body: Any, expected_tokens: int | None) -> str | None:
    """What is wrong with a body of status 200, or None. Only `query` and `result` must be there."""
    if not isinstance(body, dict):
        return "the answer is no JSON object"
    if body.get("query") != question.text:
        return "the answer is to another query"
    if not isinstance(body.get("result"), str) or not body["result"].strip():
        return "the answer has no result"
    if not isinstance(body.get("timings_ms", {}), dict) or not isinstance(body.get("passages", []), list):
        return "the answer has another form"
    tokens = body.get("tokens")
    if expected_tokens is not None and tokens is not None and tokens != expected_tokens:
        return f"the answer has {tokens} tokens instead of {expected_tokens}"
    return None


def digest(result: str) -> str:
    """What tells two answers apart: 16 hex digits of the sha256."""
    return hashlib.sha256(result.encode()).hexdigest()[:16]


def _read(row: Row, question: Question, body: dict[str, Any]) -> None:
    row.answer = digest(body["result"])
    timings = body.get("timings_ms", {})
    for stage in STAGES:
        if isinstance(timings.get(stage), (int, float)):
            setattr(row, f"{stage}_ms", float(timings[stage]))
    row.batch_size, row.tokens = _whole(body.get("batch_size")), _whole(body.get("tokens"))
    row.replica, row.request_id = _text(body.get("replica")), _text(body.get("request_id"))
    found = [passage.get("id") for passage in body.get("passages", []) if isinstance(passage, dict)]
    if question.passage_id is not None and found:
        row.hit = question.passage_id in found


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
