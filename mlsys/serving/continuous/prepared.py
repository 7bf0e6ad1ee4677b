"""What services have whose answers begin one by one: a thread that embeds, retrieves and prompts for whoever has come.

It takes all of them as one batch, while the answers of those before are being written elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections import deque
from functools import partial

from mlsys.serving.options import Server
from mlsys.serving.pipeline_service import PipelineService
from mlsys.serving.request import Clock, Failed, Request
from mlsys.serving.stream import Stream
from mlsys.serving.worker import Pipeline, Worker

MOST_PREPARED = 64  # requests embedded and retrieved for together


class Prepared(PipelineService):
    """One pipeline. What is added is `_write`: a request whose prompt is there."""

    def __init__(self, options: Server, pipeline: Pipeline, clock: Clock = time.perf_counter) -> None:
        self.arriving: deque[Request] = deque()
        self.preparing = 0
        super().__init__(options, [Worker(pipeline, clock)], MOST_PREPARED, clock)
        self._arrived = asyncio.Event()
        self._told_at = 0.0

    @abstractmethod
    def _write(self, request: Request) -> None:
        """Its prompt is there: its answer may begin."""

    def _gathering_s(self) -> float:
        """How long whoever has come waits for others before their prompts are prepared."""
        return 0.0

    def queued(self) -> int:
        """How many have no prompt yet."""
        return len(self.arriving) + self.preparing

    def _begin(self) -> None:
        pass

    def _take(self, request: Request) -> None:
        if request.stream is not None:
            request.stream.replica = self.options.label
        self.arriving.append(request)
        self._arrived.set()

    def _drop(self, request: Request) -> None:
        if request in self.arriving:
            self.arriving.remove(request)

    async def _prepare(self) -> None:
        """Again and again: whoever has come, as one batch."""
        (worker,), (pool,) = self.workers, self.pools
        while True:
            if not self.arriving:
                self._arrived.clear()
                await self._arrived.wait()
            if (gathering_s := self._gathering_s()) > 0:
                await asyncio.sleep(gathering_s)
            batch = [self.arriving.popleft() for _ in range(min(len(self.arriving), MOST_PREPARED))]
            self.preparing = len(batch)
            ready = await self._in_thread(pool, batch, partial(worker.prepare, batch))
            self.preparing = 0
            for request in ready:
                if not request.cancelled:
                    try:
                        if request.stream is not None and request.item.retrieves:
                            request.stream.retrieved(request.item.passages)
                        self._write(request)
                    except Exception as error:  # it fails alone, and the next batch is still prepared
                        self._settle(request, failed("preparing its answer", error))

    def _served(self, count: int, busy: bool) -> None:
        """So many have just been answered; `busy`: others are being answered."""
        now = self.clock()
        if self._told_at:
            self.admission.served(count, now - self._told_at)
        self._told_at = now if busy else 0.0

    def _tell(self, request: Request, stream: Stream) -> None:
        """It was told piece by piece."""


def failed(what: str, error: Exception) -> Failed:
    """The error of a request that failed alone."""
    return Failed(f"{what} failed: {type(error).__name__}: {error}")
