"""Time and threads of a virtual loop, as `mlsys.serving.realtime.Time`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Any

from mlsys.serving.continuous.loop import Loop
from mlsys.serving.realtime import Changed
from mlsys.virtual.loop import VirtualLoop


class VirtualTime:
    """`clock` is the loop's, within a worker's function its own."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.clock: Callable[[], float] = loop.time
        self._loop = loop

    def lock(self) -> AbstractContextManager[Any]:
        """Whoever works at a time at which another did waits for it, in the order of coming."""
        return _Lock(self._loop)

    def changed(self) -> Changed:
        """A flag of the loop."""
        return asyncio.Event()

    def drive(self, steps: Loop, pool: Executor) -> asyncio.Future[Any]:
        """Step by step: each runs at once, and the next one when its time has passed."""
        return asyncio.ensure_future(self._turns(steps, pool))

    async def _turns(self, steps: Loop, pool: Executor) -> None:
        while not steps.stopping:
            steps.changed.clear()
            if not await self._loop.run_in_executor(pool, steps.turn):
                await steps.changed.wait()


class _Lock(AbstractContextManager[None]):
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop, self._free_at = loop, float("-inf")

    def __enter__(self) -> None:
        if (wait_s := self._free_at - self._loop.time()) > 0:
            self._loop.sleep(wait_s)

    def __exit__(self, *_: object) -> None:
        self._free_at = self._loop.time()
