"""`server=baseline`: each request by itself, as it comes, the way a plain web framework serves a blocking
function.

Every request gets a thread of a pool at once, and there the threads contend for the one worker. There is no
line, so nobody promises an order; only the number that may wait for the worker is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlsys.serving.modes import Parts, Service
from mlsys.serving.options import Server
from mlsys.serving.pipeline_service import PipelineService
from mlsys.serving.realtime import REAL, Time
from mlsys.serving.request import Request
from mlsys.serving.worker import Embedded, Pipeline, Settle, Worker


class Baseline(Server):
    """Has no knobs of its own."""

    def service(self, parts: Parts) -> Service:
        """One pipeline, a pool of threads in front of it."""
        return Contended(self, parts.pipeline(), parts.time)


class Locked(Worker):
    """A worker for one thread at a time."""

    def __init__(self, pipeline: Pipeline, time: Time = REAL) -> None:
        super().__init__(pipeline, time.clock)
        self._lock = time.lock()

    def embed(self, texts: Sequence[str], passages: bool) -> Embedded:
        """Wait for the worker, then embed."""
        with self._lock:
            return super().embed(texts, passages)

    def run(self, batch: list[Request], cut: Any, settle: Settle) -> list[Request]:
        """Wait for the worker, then run."""
        with self._lock:
            return super().run(batch, cut, settle)


class Contended(PipelineService):
    """No line and no order: each request runs in a thread of its own, and the threads contend for the worker."""

    def __init__(self, options: Server, pipeline: Pipeline, time: Time = REAL) -> None:
        self.waiting: set[Request] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        super().__init__(options, [Locked(pipeline, time)], 1, time.clock)
        self._threads = ThreadPoolExecutor(options.max_queue + 1, thread_name_prefix="request")

    def queued(self) -> int:
        """How many wait for the worker: all that are inside but one."""
        return max(0, len(self.waiting) - 1)

    def _begin(self) -> None:
        pass

    def _take(self, request: Request) -> None:
        self.waiting.add(request)
        task = asyncio.get_running_loop().create_task(self._serve(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _drop(self, request: Request) -> None:
        self.waiting.discard(request)

    async def _serve(self, request: Request) -> None:
        await self._run(self.workers[0], self._threads, [request], len)
        if request.batch_size and request.counted:
            self.meters.batch(1, "full")
            self.decoders.answered([request])
            self.admission.served(1, self.workers[0].last_s)

    async def close(self, drained: bool) -> None:
        """Let the threads go."""
        await super().close(drained)
        self._threads.shutdown(wait=drained, cancel_futures=True)
