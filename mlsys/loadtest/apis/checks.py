"""What every protocol checks of an answer that came whole, and what it reads of a refusal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlsys.loadtest.answer import LARGEST, digest, holds, judge_by
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import OK, Row
from mlsys.serving.http.fields import Whole

LONGEST_COMPLAINT = 200
Count = Annotated[Whole, Field(ge=0, le=LARGEST)]


class Read(BaseModel):
    """What is read of an answer; other fields are not looked at."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


def validated(kind: type[Read], body: Any) -> Any:
    """The fields of a parsed body. Raises ValueError with what is wrong with the first that is, in one line."""
    if not isinstance(body, dict):
        raise ValueError("the answer is no JSON object")
    if (complaint := said(body)) and ("error" in body or body.get("object") == "error"):
        raise ValueError(f"the answer is an error: {complaint}")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"the answer's {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def accept(row: Row, question: Question, text: str | None, tokens: int | None) -> None:
    """A text that is an answer: the row is OK and has its digest and tokens. Raises ValueError for none.

    Where the service tells no number of tokens, the pieces of its stream stand in, and the row says so.
    """
    if not (text or "").strip():
        raise ValueError("the answer has no text")
    row.answer, row.tokens = digest(text or ""), tokens
    if tokens is None and row.itl_ms is not None:
        row.tokens, row.tokens_estimated = len(row.itl_ms) + 1, True
    if question.expect:
        row.met = holds(text or "", question.expect)
        if not row.met:
            raise ValueError("the answer lacks what is expected of it")
    row.outcome, row.text = OK, text if question.then else None


def check_length(row: Row, tokens: int | None, exact: bool) -> None:
    """Raise ValueError for an answer of another length than it was asked to have (`exact`), or of a larger one."""
    asked = row.max_tokens
    if asked is None or tokens is None or tokens == asked or (tokens < asked and not exact):
        return
    raise ValueError(f"the answer has {tokens} tokens instead of {'' if exact else 'at most '}{asked}")


def is_vector(values: Any) -> bool:
    """Whether it is a list of finite numbers."""
    return (
        isinstance(values, list)
        and bool(values)
        and all(type(value) in (int, float) and math.isfinite(value) for value in values)
    )


def judge(row: Row, body: Any, read: Any) -> None:
    """`answer.judge_by`, with the service's own words where it refuses."""
    judge_by(row, read, said(body) if row.status != 200 else None)


def said(body: Any) -> str | None:
    """What a service says of why it gives no answer, in the forms of OpenAI, FastAPI, TEI and TGI; one short line."""
    if not isinstance(body, Mapping):
        return None
    words = body.get("error", body.get("detail", body.get("message")))
    if isinstance(words, Mapping):
        words = words.get("message")
    if isinstance(words, list) and words and isinstance(words[0], Mapping):
        words = words[0].get("msg")
    if not isinstance(words, str) or not words.strip():
        return None
    line = " ".join("".join(c if c.isprintable() else " " for c in words[: 4 * LONGEST_COMPLAINT]).split())
    return line[:LONGEST_COMPLAINT]
