"""Between HTTP and the mode: takes questions, notices clients that leave, counts, keeps jobs, drains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mlsys.serving.http.jobs import Job, Jobs
from mlsys.serving.http.schema import Question
from mlsys.serving.modes import Answer, Service
from mlsys.serving.options import Server
from mlsys.serving.request import Request, ServiceError, Unavailable

CLIENT_LEFT = 499
DRAIN_POLL_S = 0.02
Receive = Callable[[], Awaitable[Any]]


class Left(Exception):
    """The client closed the connection before its answer was ready."""


class Handler:
    """One for a server process."""

    def __init__(self, service: Service, options: Server) -> None:
        self.service, self.options = service, options
        self.jobs = Jobs(options.jobs_ttl_s, options.jobs_max)
        self.in_flight = 0
        service.meters.gauge(
            "requests_in_flight", "Requests taken and not yet answered.", lambda: self.in_flight
        )
        service.meters.gauge("jobs", "Jobs kept, running or finished.", lambda: len(self.jobs))

    async def ask(self, question: Question, receive: Receive) -> Answer:
        """Answer while the client waits. Raises ServiceError, or Left when the client goes away."""
        answer = asyncio.ensure_future(self._answer(question))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise Left
            return answer.result()
        finally:
            gone.cancel()
            answer.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    def submit(self, question: Question) -> Job:
        """Take a job. Raises Refused or Unavailable at once if it could not enter."""
        self.service.check()
        self.jobs.make_room()
        return self.jobs.submit(self._answer(question))

    async def _answer(self, question: Question) -> Answer:
        started = time.perf_counter()
        code = CLIENT_LEFT
        self.in_flight += 1
        try:
            timeout_ms = question.timeout_ms or self.options.default_timeout_ms
            answer = await self.service.answer(Request(question.query, question.k, timeout_ms))
            code = answer.status
            return answer
        except ServiceError as error:
            code = error.status
            raise
        except Exception:
            code = 500
            raise
        finally:
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


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
