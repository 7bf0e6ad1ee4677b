"""One request on its way: deadline, cancellation and the time-stamps from which every timing is computed."""

from __future__ import annotations

import asyncio
import time
import uuid
from asyncio import Future
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from mlsys.rag.generator.stepping import GREEDY, Sampling
from mlsys.rag.item import Item
from mlsys.serving.form import Form
from mlsys.serving.stream import Stream
from mlsys.stages import STAGES

Clock = Callable[[], float]


FOREVER: AbstractAsyncContextManager[object] = nullcontext()


class ServiceError(Exception):
    """An answer that is not a success: an HTTP status, one line for the client, and when to come back."""

    status = 500

    def __init__(self, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message, self.retry_after_s = message, retry_after_s


class Failed(ServiceError):
    """The pipeline raised on this request (500)."""

    status = 500


class Unanswerable(ServiceError):
    """What was asked for cannot be had, and the client can mend it (400)."""

    status = 400


class NotFound(ServiceError):
    """No such model (404)."""

    status = 404


class Refused(ServiceError):
    """No place in the queue (429)."""

    status = 429


class BadGateway(ServiceError):
    """What a replica sent is no answer (502)."""

    status = 502


class Unavailable(ServiceError):
    """Loading, draining, or no replica is up (503)."""

    status = 503


class Expired(ServiceError):
    """The request's deadline has passed (504)."""

    status = 504


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client may ask for beyond its question.

    `max_tokens`: None leaves it to the generator; with `exact_tokens` the answer has just so many, end tokens or not
    (None: as `generator.fixed_length` says). `stop`: texts that end the answer and do not belong to it. `client`: whose
    request it is, for fairness. `priority`: larger goes first where the policy looks at it. `messages` or `prompt`: for
    the bare generator, which retrieves nothing; with `rag` the messages before the last are the conversation so far.
    `embeds`: texts whose vectors are all that is wanted, as passages or as questions.
    """

    max_tokens: int | None = None
    exact_tokens: bool | None = None
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    client: str = ""
    priority: int = 0
    rag: bool = True
    messages: tuple[dict[str, str], ...] = ()
    prompt: str | None = None
    embeds: tuple[str, ...] = ()
    embeds_passages: bool = False


NO_WISH = Wish()


class Request:
    """One question with a place in line.

    `deadline` is a reading of `clock` (seconds) or None. `cancelled` is set by the event loop and read by
    the worker thread before each stage. `counted` is False for the service's own probes. `future` holds the
    outcome and belongs to the event loop. `item` is what the stages fill. `stream`, where there is one, is told of
    passages and text as they come. `form` is how it was asked; None: by the service itself.
    """

    __slots__ = (
        "_id",
        "arrived_at",
        "batch_size",
        "cancelled",
        "clock",
        "counted",
        "deadline",
        "form",
        "future",
        "item",
        "k",
        "marked_at",
        "parts_s",
        "prepared",
        "query",
        "stream",
        "wish",
    )  # fmt: skip

    def __init__(
        self,
        query: str,
        k: int,
        timeout_ms: float | None = None,
        clock: Clock = time.perf_counter,
        counted: bool = True,
        wish: Wish = NO_WISH,
        stream: Stream | None = None,
        form: Form | None = None,
    ) -> None:
        self._id: str | None = None
        self.query, self.k, self.clock, self.counted = query, k, clock, counted
        self.arrived_at = self.marked_at = clock()
        self.deadline = None if timeout_ms is None else self.arrived_at + timeout_ms / 1000
        self.cancelled = False
        self.prepared = False
        self.batch_size = 0
        self.parts_s: dict[str, float] = {}
        self.future: Future[Any] | None = None
        self.item: Any = None
        self.wish, self.stream, self.form = wish, stream, form

    @property
    def id(self) -> str:
        """What it is called, once somebody asks."""
        if self._id is None:
            self._id = str(uuid.uuid4())
        return self._id

    def begin(self) -> Item:
        """The item that the stages will fill, as the request wishes."""
        wish = self.wish
        item = self.item = Item(
            self.query, self.k, wish.max_tokens, wish.exact_tokens, wish.sampling, wish.stop,
            retrieves=wish.rag, messages=wish.messages, continues=wish.prompt,
        )  # fmt: skip
        return item

    def leave(self) -> None:
        """Nobody waits for it any more; what works on it may end."""
        self.cancelled = True
        if self.item is not None:
            self.item.cancelled = True

    def mark(self, part: str) -> None:
        """The time since the last mark went to `part`; so the parts add up to the total by construction."""
        now = self.clock()
        self.parts_s[part] = self.parts_s.get(part, 0.0) + now - self.marked_at
        self.marked_at = now

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and self.clock() >= self.deadline

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the deadline, at least 0; None where there is no deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - self.clock())

    def in_time(self) -> AbstractAsyncContextManager[object]:
        """Around what must end by the deadline: raises TimeoutError where it does not."""
        return FOREVER if self.deadline is None else asyncio.timeout(self.remaining_s)

    def timings_ms(self) -> dict[str, float]:
        """Milliseconds of each part that there was, in the order of STAGES, and `total`, which is their sum."""
        order = sorted(self.parts_s, key=lambda part: STAGES.index(part) if part in STAGES else len(STAGES))
        parts = {part: round(self.parts_s[part] * 1000, 3) for part in order}
        return {**parts, "total": round(sum(parts.values()), 3)}
