"""Clients without sockets: what is asked over HTTP in real time is asked directly.

What HTTP would have cost is let pass as an answer goes: the event loop of the process that gives it, one request after
the other, then `request_ms`, which nobody else waits for, then the clients' event loop before the next question goes.
"""

from __future__ import annotations

import asyncio
import functools
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from mlsys.loadtest.answer import judge
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import OK, TIMED_OUT, Row
from mlsys.rag.item import Hit
from mlsys.serving.form import Unwritten
from mlsys.serving.modes import Service
from mlsys.serving.request import NO_WISH, Clock, Request, ServiceError, Wish
from mlsys.serving.stream import Stream
from mlsys.stages import STAGES

MEANS = {stage: f"{stage}_ms" for stage in STAGES}


class Turns:
    """What does one thing at a time, in the order of coming: an event loop that handles requests."""

    def __init__(self, clock: Clock, takes_s: float) -> None:
        self._clock, self.takes_s, self._free_at = clock, takes_s, float("-inf")
        self._held = deque[tuple[float, float]]()

    def hold(self, seconds: float) -> None:
        """A thread of its process computes from now on for so long, and it does not get on meanwhile."""
        if self.takes_s:
            now = self._clock()
            self._held.append((now, now + seconds))

    async def take(self, more_s: float = 0.0) -> None:
        """Have a turn, and let `more_s` pass. A thread that begins to compute at the same time comes first."""
        if self.takes_s:
            await asyncio.sleep(0)
            now = self._clock()
            begin = max(now, self._free_at)
            while self._held and self._held[0][1] <= now:
                self._held.popleft()
            for start, end in self._held:
                if start <= begin < end:
                    begin = end
            self._free_at = begin + self.takes_s
            more_s += self._free_at - now
        if more_s:
            await asyncio.sleep(more_s)


class Told(Unwritten):
    """How a client in virtual time asks: it gets the finished request itself."""

    path = "/rag"

    def __init__(self) -> None:
        self.request: Request | None = None

    def whole(self, request: Request, replica: str | None) -> bytes:
        """Keep it."""
        request.mark("respond")
        self.request = request
        return b""


class Stamped(Stream):
    """Stamps the row as its client would on reading a piece. `replica` is who writes it, the first that does."""

    def __init__(self, row: Row, clock: Callable[[], float]) -> None:
        super().__init__()
        self._row, self._clock = row, clock
        self._last_s = 0.0

    def retrieved(self, passages: Sequence[Hit]) -> None:
        """No text yet."""

    def write(self, text: str, tokens: int | None) -> None:
        """A piece has come."""
        if not text:
            return
        now, row = self._clock(), self._row
        if row.first_text_s is None or row.itl_ms is None:
            row.first_text_s, row.itl_ms = now, array("f")
        else:
            row.itl_ms.append(1e3 * (now - self._last_s))
        self._last_s = now


class InProcess:
    """Asks `service`, whose event loop is `line`, for `clients` with one of theirs. Answers count as if over HTTP.

    `request_s` and `dispatch_s`: see `mlsys.virtual.cost.Overheads`.
    """

    def __init__(
        self,
        service: Service,
        clock: Clock,
        k: int,
        timeout_s: float,
        stream: bool = False,
        line: Turns | None = None,
        clients: Turns | None = None,
        request_s: float = 0.0,
        dispatch_s: float = 0.0,
        default_timeout_ms: float | None = None,
    ) -> None:
        self._service, self._clock, self._k, self._timeout_s = service, clock, k, timeout_s
        self._stream, self._request_s, self._dispatch_s = stream, request_s, dispatch_s
        self._line, self._clients = line or Turns(clock, 0.0), clients or Turns(clock, 0.0)
        self._default_timeout_ms = default_timeout_ms

    async def ask(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
        """Ask the question, fill in the row, failures too. `clock` gives s since the level began."""
        if self._dispatch_s and row.concurrency is None:
            await asyncio.sleep(self._dispatch_s)
            row.sent_s = clock()
        await self._asked(row, question, clock)
        if self._clients.takes_s:
            await self._clients.take()

    async def _asked(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
        told = Told()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(row, question, clock, told)
        except ServiceError as error:
            row.status, row.retry_after_s = error.status, error.retry_after_s
        except TimeoutError:
            row.done_s, row.outcome = clock(), TIMED_OUT
            row.error = f"no answer within {self._timeout_s:g} s"
            return
        row.done_s = clock()
        if row.first_byte_s is None:
            row.first_byte_s = row.done_s
        if self._stream and row.first_text_s is None:
            row.first_text_s = row.done_s
        request, told.request = told.request, None  # each would keep the other until the collector came
        if row.status == 200 and request is not None:
            _fill(row, request)
            row.text = str(request.item.result) if question.then else None
        else:
            judge(row, question, None, None)

    async def _send(self, row: Row, question: Question, clock: Callable[[], float], told: Told) -> None:
        wish = _of_length(row.max_tokens) if row.max_tokens else NO_WISH
        stream = Stamped(row, clock) if self._stream else None
        request = Request(
            question.text, self._k, self._default_timeout_ms, self._clock, True, wish, stream, told
        )
        answer = await self._service.answer(request)
        if told.request is None:  # it was streamed
            told.request = request
        row.status, row.replica = answer.status, answer.replica
        if answer.retry_after is not None:
            row.retry_after_s = float(answer.retry_after)
        if self._line.takes_s or self._request_s:
            await self._line.take(self._request_s)

    async def get(self, path: str) -> Any:
        """What the service says of itself."""
        return await self._service.stats()


@functools.lru_cache(maxsize=4096)
def _of_length(tokens: int) -> Wish:
    """An answer of just so many tokens."""
    return Wish(max_tokens=tokens, exact_tokens=True)


def _fill(row: Row, request: Request) -> None:
    """What the answer to a finished request would have told."""
    row.outcome = OK
    for part, seconds in request.parts_s.items():
        setattr(row, MEANS[part], 1e3 * seconds)
    row.batch_size, row.tokens = request.batch_size, request.item.tokens
