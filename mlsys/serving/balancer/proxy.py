"""Carries a request to a replica and, where the connection failed or the replica went silent, to another one,
within the retry budget.

Answering a question changes nothing on a replica, so a request whose connection broke may safely be asked
again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import partial

from mlsys.serving.balancer.backend import Backend, Backends
from mlsys.serving.balancer.budget import FOR_DEATHS, RetryBudget
from mlsys.serving.balancer.calls import Broken, Calls, NoAnswer, Outrun
from mlsys.serving.modes import Answer
from mlsys.serving.request import BadGateway, Clock, Request, Unavailable

BUSY = frozenset({429, 503})


class Proxy:
    """Asks replicas by `calls`, one or several of them."""

    def __init__(
        self,
        backends: Backends,
        budget: RetryBudget,
        calls: Calls,
        silent_s: float = 0.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self.backends, self.budget, self._calls, self._clock = backends, budget, calls, clock
        self._poll_s = silent_s / 4 or None
        self.retries = 0

    async def forward(self, request: Request) -> Answer:
        """The answer of one replica; of the first to give one where the others have gone silent.

        Raises Unavailable where none is up or retries ran out on broken connections, BadGateway where they
        ran out on what is no answer, or where a stream that had begun broke off.
        """
        self.budget.earn()
        tried: list[Backend] = []
        running = _Running()
        calls = running.calls
        answer: Answer | None = None
        fault = Broken("no replica was asked")
        try:
            while True:
                begun = _begun(request)
                if begun is None and (not calls or all(backend.quiet for backend in calls.values())):
                    if (backend := self._next(tried, answer is not None, request)) is not None:
                        running.add(asyncio.create_task(self._ask(backend, request)), backend)
                    elif not calls:
                        break
                await running.one_ended(self._patience_s(calls.values()))
                self.backends.doubt()
                for call in [one for one in calls if one.done()]:
                    asked = calls.pop(call)
                    try:
                        answer = _result(call, asked)
                    except Broken as error:
                        if _begun(request) == asked.name:
                            raise BadGateway(f"the answer broke off: {error}") from error
                        fault = error
                    else:
                        if answer.status not in BUSY:
                            return answer
        finally:
            for call in calls:
                call.cancel()
            if calls:
                await asyncio.gather(*calls, return_exceptions=True)
        if answer is not None:
            return answer
        if isinstance(fault, NoAnswer):
            raise BadGateway(str(fault))
        raise Unavailable(f"the connection to {len(tried)} replica(s) failed", 1)

    def _patience_s(self, asked: Iterable[Backend]) -> float | None:
        """When to look again whether those asked have gone silent."""
        poll_s, late_s = self._poll_s, self.backends.patience_s(asked)
        if poll_s is None or late_s is None:
            return late_s if poll_s is None else poll_s
        return min(poll_s, late_s)

    def _next(self, tried: list[Backend], busy: bool, request: Request) -> Backend | None:
        """Whom to ask now, if anybody is left and the budget allows it. Raises Unavailable if none is up."""
        backend = self.backends.choose(tried, request)
        if tried and backend is not None:
            if not self.budget.spend(FOR_DEATHS if busy else 0.0):
                return None
            self.retries += 1
        if backend is not None:
            tried.append(backend)
        return backend

    async def _ask(self, backend: Backend, request: Request) -> Answer:
        began = self._clock()
        try:
            answer = await self._calls.ask(backend, request, partial(self.backends.learn, request))
        except NoAnswer as error:
            backend.answered(error.status)
            raise
        except Broken as error:
            if not isinstance(error, Outrun):
                backend.answered(None)
            raise
        backend.answered(answer.status)
        if answer.status == 200:
            self.backends.answered(backend, self._clock() - began)
        return answer


class _Running:
    """The calls of one request that nobody has looked at since they ended."""

    __slots__ = ("_waiter", "calls")

    def __init__(self) -> None:
        self.calls: dict[asyncio.Task[Answer], Backend] = {}
        self._waiter: asyncio.Future[None] | None = None

    def add(self, call: asyncio.Task[Answer], backend: Backend) -> None:
        """It has begun."""
        self.calls[call] = backend
        backend.take(call, self._ended)

    def _ended(self, call: asyncio.Task[Answer]) -> None:
        if call in self.calls:
            self._look()

    def _look(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def one_ended(self, within_s: float | None) -> None:
        """Until one of them is done, or time is up: `asyncio.wait` without what it takes for sets of anything."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if within_s is None else loop.call_later(within_s, self._look)
        try:
            await self._waiter
        finally:
            if timer is not None:
                timer.cancel()


def _begun(request: Request) -> str | None:
    """The replica whose stream the client has begun to get: no other can go on with it."""
    return None if request.stream is None else request.stream.replica


def _result(call: asyncio.Task[Answer], backend: Backend) -> Answer:
    """Raises Broken where the call was cancelled because the replica is lost, or as the call did."""
    if call.cancelled():
        backend.answered(None)
        raise Broken(f"{backend.name} is gone")
    return call.result()
