"""A balancer's places: so many requests in flight, a client's fair part of them, each until its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mlsys.serving.admission import Admission
from mlsys.serving.fairness import Places, displaced
from mlsys.serving.request import Expired, Request

Result = TypeVar("Result")


class Door:
    """`most`: places. `fair`: see `mlsys.serving.fairness`. All methods run in the event loop."""

    def __init__(self, most: int, fair: bool) -> None:
        self.admission = Admission(most)
        self._places = Places(fair)
        self._limits: dict[Request, asyncio.Timeout] = {}
        self._displaced: set[Request] = set()

    @property
    def in_flight(self) -> int:
        """How many places are taken."""
        return len(self._limits)

    def check(self, client: str) -> None:
        """Raise Refused if all places are taken, and nobody gives one to `client`."""
        if self._yields(client) is None:
            self.admission.admit(self.in_flight)

    async def let(self, request: Request, work: Callable[[Request], Awaitable[Result]]) -> Result:
        """What `work` makes of it. Raises Expired at its deadline, Refused where another client takes its place."""
        if (other := self._yields(request.wish.client)) is not None:
            self._displaced.add(other)
            self._leave(other).reschedule(asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(request.remaining_s) as self._limits[request]:
                self._places.enter(request)
                return await work(request)
        except TimeoutError:
            if request in self._displaced:
                raise displaced(self.admission.retry_after_s(self.in_flight)) from None
            raise Expired("the deadline (timeout_ms) passed before the answer was ready") from None
        finally:
            if request in self._displaced:
                self._displaced.remove(request)
            else:
                self._leave(request)

    def _leave(self, request: Request) -> asyncio.Timeout:
        self._places.leave(request)
        return self._limits.pop(request)

    def _yields(self, client: str) -> Request | None:
        """Who would give its place to a request of `client`; None: nobody, or there is room."""
        is_full = self.in_flight >= self.admission.max_queue
        return self._places.yields(client, self._waits) if is_full else None

    def _waits(self, request: Request) -> bool:
        """Nothing of its answer was seen."""
        return request.stream is None or request.stream.replica is None
