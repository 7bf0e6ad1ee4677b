"""Whether an answer is one: with status 200 it can still be an error, to another question, or nonsense.

The one place where an answer enters. Only `query` and `result` must be there. What else is read may be left out or
null. Where it is not what it should be, that request has failed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FAILED, OK, REJECTED, TIMED_OUT, Row
from mlsys.serving.http.fields import Whole
from mlsys.stages import STAGES

REJECTING = (429, 503)
DEADLINE = (408, 504)
REDIRECTING = range(300, 400)
LONGEST_MS = 1e9
LARGEST = 2**31 - 1
LONGEST_NAME = 200
PRINTABLE = r"^\P{C}*$"  # no control characters: it will be shown
LONGEST_RETRY_AFTER_S = 86_400.0


class _Read(BaseModel):
    """Other fields are not looked at."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


Milliseconds = Annotated[float, Field(ge=0, le=LONGEST_MS)]
Name = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
    Field(max_length=LONGEST_NAME, pattern=PRINTABLE),
]
Timings = create_model("Timings", __base__=_Read, **dict.fromkeys(STAGES, (Milliseconds | None, None)))  # type: ignore[call-overload]


class AnswerBody(_Read):
    """What is read of the body of an answer."""

    query: str
    result: str
    timings_ms: Timings | None = None  # type: ignore[valid-type]
    passages: list[Any] | None = None
    batch_size: Annotated[Whole, Field(ge=1, le=LARGEST)] | None = None
    tokens: Annotated[Whole, Field(ge=0, le=LARGEST)] | None = None
    prompt_tokens: Annotated[Whole, Field(ge=0, le=LARGEST)] | None = None
    replica: Name | None = None
    request_id: Name | None = None


def judge(row: Row, question: Question, body: Any, expected_tokens: int | None) -> None:
    """Set the row's outcome and what the answer tells, from its status and its parsed JSON `body`."""
    judge_by(row, lambda: _read(row, question, parse(question, body, expected_tokens)))


def judge_by(row: Row, read: Callable[[], None], said: str | None = None) -> None:
    """Set the row's outcome from its status; of 200 `read` sets it, or raises ValueError with what is wrong.

    `said`: the service's own words where it refuses.
    """
    because = f": {said}" if said else ""
    if row.status in REJECTING:
        row.outcome, row.error = REJECTED, f"status {row.status}{because}"
    elif row.status in DEADLINE:
        row.outcome, row.error = TIMED_OUT, f"status {row.status}{because}"
    elif row.status in REDIRECTING:
        row.outcome, row.error = FAILED, f"status {row.status}: a redirect is not followed"
    elif row.status != 200:
        row.outcome, row.error = FAILED, f"status {row.status}{because}"
    else:
        try:
            read()
        except ValueError as error:
            row.outcome, row.error = FAILED, str(error)


def parse(question: Question, body: Any, expected_tokens: int | None) -> AnswerBody:
    """The answer in a body of status 200. Raises ValueError with what is wrong with it, in one line."""
    if not isinstance(body, dict):
        raise ValueError("the answer is no JSON object")
    try:
        answer = AnswerBody.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"the answer's {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if answer.query != question.text:
        raise ValueError("the answer is to another query")
    if not answer.result.strip():
        raise ValueError("the answer has no result")
    if None not in (expected_tokens, answer.tokens) and answer.tokens != expected_tokens:
        raise ValueError(f"the answer has {answer.tokens} tokens instead of {expected_tokens}")
    return answer


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The seconds of a `Retry-After`; None where there is none, or a date, or no time from now to a day."""
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds <= LONGEST_RETRY_AFTER_S else None


def replica(headers: Mapping[str, str]) -> str | None:
    """The replica that a balancer names in `X-Replica`; None where it names none, or no name."""
    name = headers.get("X-Replica", "")
    return name if 0 < len(name) <= LONGEST_NAME and name.isprintable() else None


def digest(result: str) -> str:
    """What tells two answers apart: 16 hex digits of the sha256."""
    return hashlib.sha256(result.encode()).hexdigest()[:16]


def _read(row: Row, question: Question, answer: AnswerBody) -> None:
    row.outcome, row.answer = OK, digest(answer.result)
    row.text = answer.result if question.then else None
    for stage in STAGES:
        setattr(row, f"{stage}_ms", getattr(answer.timings_ms, stage, None))
    row.batch_size, row.tokens, row.prompt_tokens = answer.batch_size, answer.tokens, answer.prompt_tokens
    row.replica, row.request_id = answer.replica or row.replica, answer.request_id
    found = [passage.get("id") for passage in answer.passages or [] if isinstance(passage, dict)]
    if question.passage_id is not None and found:
        row.hit = question.passage_id in found
    if question.expect:
        row.met = holds(answer.result, question.expect)
        if not row.met:
            raise ValueError("the answer lacks what is expected of it")


def holds(text: str, expect: str) -> bool:
    """Whether `text` holds what is expected, whatever its case and its spaces are."""
    return _plain(expect) in _plain(text)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
