"""Active checks: `/ready` every interval, and a real question to a replica that has answered nobody for
long.

A replica can say that it is well and still answer nothing. As long as it answers clients that is its proof;
one that has answered none for `probe_idle_s`, idle or not, is asked a question itself, and after a wrong
answer at every check until it answers well.
"""

from __future__ import annotations

import asyncio
import time

from mlsys.serving.balancer.backend import Backend
from mlsys.serving.balancer.calls import Broken, Calls
from mlsys.serving.balancer.options import Balancing
from mlsys.serving.request import Clock

CLEAR_S = 0.25
QUESTION = {"query": "Are you well?", "k": 1}


class Checks:
    """One task for each replica, until `stop`."""

    def __init__(
        self, backends: list[Backend], options: Balancing, calls: Calls, clock: Clock = time.monotonic
    ) -> None:
        self._options, self._calls, self._clock = options, calls, clock
        self._tasks = [asyncio.create_task(self._watch(backend)) for backend in backends]
        if options.hang_factor:
            self._tasks += [asyncio.create_task(self._clear(backend)) for backend in backends]
        if options.silent_s:
            self._tasks += [asyncio.create_task(self._listen(backend)) for backend in backends]

    async def stop(self) -> None:
        """End all checks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, backend: Backend) -> None:
        real = True
        while True:
            await asyncio.sleep(self._options.check_interval_s)
            if backend.url is None:
                continue
            good = await self._ready(backend)
            if backend.idle_s() < self._options.check_interval_s:
                real = True
            elif good and self._doubtful(backend, real):
                real = await self._asked(backend)
            backend.checked(good and real)

    def _doubtful(self, backend: Backend, real: bool) -> bool:
        limit_s = self._options.probe_idle_s
        return limit_s > 0 and (not real or backend.idle_s() > limit_s)

    async def _listen(self, backend: Backend) -> None:
        """While requests wait on it: does the process make any sound?"""
        while True:
            await asyncio.sleep(self._options.silent_s / 4)
            if backend.url is None or not backend.silence.due(backend.in_flight):
                continue
            backend.silence.asked()
            if await self._sounds(backend):
                backend.silence.heard()

    async def _clear(self, backend: Backend) -> None:
        """Give a doubted replica a question: its answer clears it."""
        while True:
            await asyncio.sleep(CLEAR_S)
            if backend.url is None or not backend.progress.doubted:
                continue
            try:
                status = await self._calls.probe(backend, QUESTION, self._options.check_timeout_s)
            except (Broken, TimeoutError):
                continue
            if status in (200, 429):
                backend.heard()

    async def _sounds(self, backend: Backend) -> bool:
        try:
            await self._check(backend, self._options.silent_s)
        except TimeoutError:
            return False
        except Broken:
            return True  # a refusal is a sound, and for others to judge
        return True

    async def _ready(self, backend: Backend) -> bool:
        try:
            return await self._check(backend, self._options.check_timeout_s) == 200
        except (Broken, TimeoutError):
            return False

    async def _check(self, backend: Backend, timeout_s: float) -> int:
        return await self._calls.check(backend, self._options.check_path, timeout_s)

    async def _asked(self, backend: Backend) -> bool:
        began = self._clock()
        try:
            status = await self._calls.probe(backend, QUESTION, self._options.probe_timeout_s)
        except (Broken, TimeoutError):
            return backend.idle_s() < self._clock() - began  # it was busy with clients, and answered one
        if status == 200:
            backend.proved()
        return status in (200, 429)
