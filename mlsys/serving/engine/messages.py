"""What the two processes tell each other: rows of JSON, of requests one way and of what comes of them the other.

A message has any of these, and is read in this order.
To the engine: `ask` (rows of `asked`), `leave` (numbers of requests that nobody waits for), `tell` (rows of a number
and `stats`, `names` or `metrics`), `stop`.
From it: `taken` (how many requests it has read so far), `waiting` (how many of them have no place yet), `state`,
`found` (rows of `found`), `text` (rows of number, text, tokens: all of a step together), `done` (rows of `done`),
`failed` (rows of `failed`), `told` (rows of number and content).

Times are readings of the clock that both processes share (`time.perf_counter` of one machine).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from mlsys.rag.generator.stepping import Sampling
from mlsys.rag.item import Hit, Item
from mlsys.serving import request as requests
from mlsys.serving.request import Request, ServiceError, Wish

Row = list[Any]
USUAL = {field.name: field.default for field in fields(Wish)}
ERRORS: dict[int, type[ServiceError]] = {
    kind.status: kind
    for kind in (
        requests.Unanswerable, requests.NotFound, requests.Refused, requests.Failed, requests.BadGateway,
        requests.Unavailable, requests.Expired,
    )
}  # fmt: skip


def asked(number: int, request: Request) -> Row:
    """A request, as the engine's process needs it."""
    wish = {name: value for name in USUAL if (value := getattr(request.wish, name)) != USUAL[name]}
    if (sampling := wish.get("sampling")) is not None:
        wish["sampling"] = [sampling.temperature, sampling.top_p, sampling.seed]
    streams = request.stream is not None
    return [number, request.query, request.k, request.arrived_at, request.deadline, streams, wish]


def request_of(row: Row) -> tuple[int, Request, bool]:
    """Its number, the request without a stream, and whether one is wanted."""
    number, query, k, arrived_at, deadline, streams, wish = row
    for name, value in wish.items():
        if name == "sampling":
            wish[name] = Sampling(*value)
        elif isinstance(value, list):
            wish[name] = tuple(value)
    request = Request(query, k, wish=Wish(**wish))
    request.arrived_at = request.marked_at = arrived_at
    request.deadline = deadline
    return number, request, streams


def found(number: int, passages: Sequence[Hit], places: Sequence[int]) -> Row:
    """Passages of a stream, and the ids of those in the prompt."""
    return [number, [[hit.id, hit.text, hit.source, hit.score] for hit in passages], list(places)]


def hits(rows: Sequence[Row]) -> list[Hit]:
    """Passages."""
    return [Hit(*row) for row in rows]


def done(number: int, request: Request) -> Row:
    """What came of a request."""
    times = [request.batch_size, request.parts_s, request.marked_at]
    if request.wish.embeds:
        vectors, tokens = request.item
        rows = np.ascontiguousarray(vectors, np.float32)
        return [number, times, [base64.b64encode(rows.tobytes()).decode(), rows.shape, tokens]]
    item = request.item
    _, passages, places = found(number, item.passages if request.stream is None else (), item.prompt_passages)
    return [number, times, [item.result, item.tokens, item.prompt_tokens, item.finish, passages, places]]


def fill(request: Request, row: Row) -> None:
    """What `done` told, into the request that was asked."""
    _, (request.batch_size, request.parts_s, request.marked_at), outcome = row
    if request.wish.embeds:
        vectors, shape, tokens = outcome
        request.item = np.frombuffer(base64.b64decode(vectors), np.float32).reshape(shape), tokens
        return
    item: Item = request.item or Item(request.query, request.k)
    item.result, item.tokens, item.prompt_tokens, item.finish, passages, item.prompt_passages = outcome
    if request.stream is None:
        item.passages = hits(passages)
    request.item = item


def failed(number: int, error: ServiceError) -> Row:
    """How a request failed."""
    return [number, error.status, error.message, error.retry_after_s]


def error_of(row: Row) -> ServiceError:
    """The same as an error."""
    _, status, message, retry_after_s = row
    error = ERRORS.get(status, ServiceError)(message, retry_after_s)
    error.status = status
    return error
