"""The shapes of HTTP bodies, as the OpenAPI document shows them. Limits come from the server's options."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model

from mlsys.rag.item import Hit
from mlsys.serving.http.fields import Priority, Seed, Stop, Temperature, TopP, User, Whole, tokens
from mlsys.serving.request import Request

MAX_TIMEOUT_MS = 3_600_000
DEFAULT_K = 2
MAX_MESSAGES = 256


class Said(BaseModel):
    """Part of the conversation so far."""

    model_config = ConfigDict(extra="forbid", strict=True)
    role: Literal["user", "assistant"]
    content: str


class QuestionBody(BaseModel):
    """What a client asks."""

    model_config = ConfigDict(extra="forbid", strict=True)
    query: str
    messages: Annotated[
        list[Said], Field(max_length=MAX_MESSAGES, description="What was said before the question.")
    ] = []
    k: Whole = DEFAULT_K
    timeout_ms: float | None = None
    max_tokens: Whole | None = None
    exact_tokens: bool | None = Field(None, description="Just max_tokens, whatever the model would say.")
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Seed | None = None
    stop: Stop = None
    priority: Priority = 0
    user: User | None = None


class Passage(BaseModel):
    """A retrieved passage; a larger score is nearer, null where the question has none."""

    id: int
    score: float | None
    text: str
    source: str


class Rag(BaseModel):
    """An answer. `timings_ms` add up to its `total`. Tokens are null where an engine at an address does not tell."""

    query: str
    result: str
    passages: list[Passage]
    timings_ms: dict[str, float]
    batch_size: int
    tokens: int | None
    prompt_tokens: int | None
    finish_reason: str
    request_id: UUID
    replica: str | None


class Problem(BaseModel):
    """Anything that is not a success, in one line."""

    detail: str


class Fault(BaseModel):
    """One field that was not as it must be."""

    loc: list[str | int]
    msg: str
    type: str


class Invalid(BaseModel):
    """Which fields, and why."""

    detail: list[Fault]


class Submitted(BaseModel):
    """A job's number."""

    id: UUID
    status: str


class Outcome(BaseModel):
    """A job: `pending`, `done` with a response, or `failed` with a status and a detail."""

    id: UUID
    status: str
    response: Rag | None = None
    error: dict[str, Any] | None = None


class State(BaseModel):
    """`ready`, or why not."""

    status: str


def question(max_query_chars: int, max_k: int, max_tokens: int | None = None) -> type[QuestionBody]:
    """A question under this server's limits, as it is put in a job."""
    return create_model(
        "Question",
        __base__=QuestionBody,
        query=(str, Field(min_length=1, max_length=max_query_chars, description="The question.")),
        k=(Whole, Field(min(DEFAULT_K, max_k), ge=1, le=max_k, description="Passages to put in the prompt.")),
        timeout_ms=(
            float | None,
            Field(
                None, gt=0, le=MAX_TIMEOUT_MS, description="Give up after so long: 504 instead of an answer."
            ),
        ),
        max_tokens=(
            tokens(max_tokens) | None,
            Field(None, description="Length of the answer at most; none: the generator's."),
        ),
    )


def streamed(question: type[QuestionBody]) -> type[QuestionBody]:
    """The body of `POST /rag`: a question that may be answered piece by piece."""
    stream = Field(False, description="Answer with server-sent events: passages, text, done or error.")
    return create_model("Ask", __base__=question, stream=(bool, stream))


def rag_body(request: Request, replica: str | None) -> bytes:
    """The answer to a finished request as `Rag`'s JSON; writing it is what the stage `respond` measures."""
    content = {**rag_content(request, replica), "passages": passages(request.item.passages)}
    text = json.dumps(content, allow_nan=False)
    request.mark("respond")
    return f'{text[:-1]}, "timings_ms": {json.dumps(request.timings_ms())}}}'.encode()


def rag_content(request: Request, replica: str | None) -> dict[str, Any]:
    """What `Rag` says of a finished request beside passages and times."""
    item = request.item
    return {
        "query": request.query,
        "result": item.result,
        "batch_size": request.batch_size,
        "tokens": _count(item.tokens),
        "prompt_tokens": _count(item.prompt_tokens),
        "finish_reason": item.finish or "stop",
        "request_id": request.id,
        "replica": replica,
    }


def passages(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """Passages as `Passage`."""
    return [
        {"id": int(hit.id), "score": _finite(hit.score), "text": hit.text, "source": hit.source}
        for hit in hits
    ]


def _finite(score: float) -> float | None:
    """JSON has no nan, which is the cosine of a question without any word the embedder knows."""
    return float(score) if math.isfinite(score) else None


def _count(tokens: int | None) -> int | None:
    return None if tokens is None else int(tokens)
