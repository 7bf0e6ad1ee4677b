"""Whether the client itself was the limit: how late its event loop is, and how much of a core it takes."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

INTERVAL_S = 0.01


class Watch:
    """Samples the lag of the running event loop while the body of its `async with` runs."""

    def __init__(self) -> None:
        self.lags_ms: list[float] = []
        self.cpu_share = 0.0

    async def __aenter__(self) -> Watch:
        self._started = (time.perf_counter(), time.process_time())
        self._task = asyncio.create_task(self._sample())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        wall_s = time.perf_counter() - self._started[0]
        self.cpu_share = (time.process_time() - self._started[1]) / max(wall_s, 1e-9)

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self.lags_ms.append(1e3 * max(loop.time() - due, 0.0))
