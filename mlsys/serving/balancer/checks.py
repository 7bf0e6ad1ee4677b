"""Active checks: `/ready` every interval, and a real question to a replica that has answered nobody for
long.

A replica can say that it is well and still answer nothing. As long as it answers clients that is its proof;
an idle one is asked a question itself, and after a wrong answer at every check until it answers well.
"""

from __future__ import annotations

import asyncio

import aiohttp

from mlsys.serving.balancer.backend import Backend
from mlsys.serving.options import LoadBalancer

QUESTION = {"query": "Are you well?", "k": 1}


class Checks:
    """One task for each replica, until `stop`."""

    def __init__(
        self, backends: list[Backend], options: LoadBalancer, session: aiohttp.ClientSession
    ) -> None:
        self._options, self._session = options, session
        self._tasks = [asyncio.create_task(self._watch(backend)) for backend in backends]

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
            if good and self._doubtful(backend, real):
                real = await self._asked(backend)
            elif backend.idle_s() < self._options.check_interval_s:
                real = True
            backend.checked(good and real)

    def _doubtful(self, backend: Backend, real: bool) -> bool:
        limit_s = self._options.probe_idle_s
        return limit_s > 0 and backend.in_flight == 0 and (not real or backend.idle_s() > limit_s)

    async def _ready(self, backend: Backend) -> bool:
        timeout = aiohttp.ClientTimeout(self._options.check_timeout_s)
        try:
            async with self._session.get(
                f"{backend.url}{self._options.check_path}", timeout=timeout
            ) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def _asked(self, backend: Backend) -> bool:
        timeout = aiohttp.ClientTimeout(self._options.probe_timeout_s)
        try:
            async with self._session.post(f"{backend.url}/rag", json=QUESTION, timeout=timeout) as response:
                await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        if response.status == 200:
            backend.proved()
        return response.status in (200, 429)
