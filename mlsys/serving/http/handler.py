"""Between HTTP and the mode: takes questions, notices clients that leave, counts, keeps jobs, drains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID

from mlsys.serving.http import trail
from mlsys.serving.http.jobs import Job, Jobs
from mlsys.serving.http.streaming import Coming, Receive, until_gone
from mlsys.serving.modes import Answer, Service
from mlsys.serving.options import Server
from mlsys.serving.reloading import Reload
from mlsys.serving.request import Request, ServiceError, Unavailable
from mlsys.serving.stream import Stream

DRAIN_POLL_S = 0.02
T = TypeVar("T")


class Left(Exception):
    """The client closed the connection before its answer was ready."""


class Handler:
    """One for a server process."""

    def __init__(self, service: Service, options: Server, reload: Reload | None = None) -> None:
        self.service, self.options, self.reload = service, options, reload
        self.jobs = Jobs(options.jobs_ttl_s, options.jobs_max)
        self.in_flight = 0
        service.meters.gauge(
            "requests_in_flight", "Requests taken and not yet answered.", lambda: self.in_flight
        )
        service.meters.gauge("jobs", "Jobs kept, running or finished.", lambda: len(self.jobs))

    async def ask(self, request: Request, receive: Receive) -> Answer:
        """Answer while the client waits. Raises ServiceError, or Left when the client goes away."""
        return await self._waited(self._answer(request), receive)

    async def _waited(self, work: Coroutine[Any, Any, T], receive: Receive) -> T:
        """What comes of `work`, unless the client goes away."""
        watch = _Watch(receive)
        try:
            return await work
        except asyncio.CancelledError:
            watch.tell()
            raise
        finally:
            watch.end()

    async def begin(self, request: Request, receive: Receive) -> Coming | Answer:
        """An answer that has begun, or a whole one that is none (a replica's refusal).

        Raises ServiceError where it fails before its first event, or Left when the client goes away until then.
        """
        if request.stream is None:
            raise RuntimeError("a request without a stream is asked")
        request.stream.hold_s = lambda: self.in_flight / self.options.stream_events_per_s
        answer = asyncio.ensure_future(self._answer(request))
        try:
            return await self._waited(_begun(request, request.stream, answer), receive)
        except BaseException:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
            raise

    def submit(self, request: Request) -> Job:
        """Take a job. Raises Refused or Unavailable at once if it could not enter."""
        self.service.check(request.wish.client)
        self.jobs.make_room()
        return self.jobs.submit(self._answer(request))

    async def job(self, number: UUID) -> Job | None:
        """The job, or None if it is unknown or no longer kept."""
        return self.jobs.get(number)

    async def _answer(self, request: Request) -> Answer:
        started = time.perf_counter()
        code, named = trail.CLIENT_LEFT, None
        self.in_flight += 1
        if self.options.log_questions:
            trail.note(question=request.query)
        try:
            answer = await self.service.answer(request)
            code = answer.status
            named = answer.replica
            return answer
        except ServiceError as error:
            code = error.status
            raise
        except Exception:
            code = 500
            raise
        finally:
            if request.stream is not None:
                request.stream.end()
                named = named or request.stream.replica
            if named:
                trail.note(replica=named)
            self.in_flight -= 1
            self.service.meters.request(code, time.perf_counter() - started)

    def ready(self) -> None:
        """Raise Unavailable unless a request would be taken."""
        if (state := self.service.state()) != "ready":
            raise Unavailable(state)

    async def drain(self) -> bool:
        """Take nothing new, wait for what runs. Returns whether all of it ended in time."""
        self.service.drain()
        until = time.monotonic() + self.options.drain_timeout_s
        while (self.in_flight or self.jobs.running) and time.monotonic() < until:
            await asyncio.sleep(DRAIN_POLL_S)
        return not (self.in_flight or self.jobs.running)


class _Watch:
    """Cancels the task that made it when the client goes away."""

    def __init__(self, receive: Receive) -> None:
        self._task, self._left = asyncio.current_task(), False
        self._gone = asyncio.ensure_future(until_gone(receive))
        self._gone.add_done_callback(self._leave)

    def _leave(self, gone: asyncio.Future[None]) -> None:
        if self._task is not None and not gone.cancelled():
            self._left = True
            self._task.cancel()

    def tell(self) -> None:
        """Raise Left if that is why the task was cancelled, and the only reason."""
        if self._left and self._task is not None and self._task.uncancel() == 0:
            raise Left from None

    def end(self) -> None:
        """Look no longer."""
        self._task = None
        self._gone.cancel()


async def _begun(request: Request, stream: Stream, answer: asyncio.Future[Answer]) -> Coming | Answer:
    events = stream.events()
    first = await anext(events, None)
    return await answer if first is None else Coming(request, first, events, answer)
