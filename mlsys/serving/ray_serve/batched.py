"""`server.batcher=ray`: Ray Serve's own batcher in front of one worker, with our line, limits and stages around it."""

from __future__ import annotations

import asyncio

from ray import serve

from mlsys.serving.options import Server
from mlsys.serving.pipeline_service import PipelineService
from mlsys.serving.request import Failed, Request
from mlsys.serving.worker import Pipeline, Worker


class Batched(PipelineService):
    """`@serve.batch` says when a batch is closed: at `size` requests, or `wait_s` after it looked for the first."""

    def __init__(self, options: Server, pipeline: Pipeline, size: int, wait_s: float) -> None:
        self.inside: set[Request] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        super().__init__(options, [Worker(pipeline)], size)

        async def together(requests: list[Request]) -> list[None]:
            return await self._batch(requests)

        self._together = serve.batch(max_batch_size=size, batch_wait_timeout_s=wait_s)(together)

    def queued(self) -> int:
        """How many wait in Ray's queue."""
        return max(0, len(self.inside) - self.running)

    def _begin(self) -> None:
        pass

    def _take(self, request: Request) -> None:
        self.inside.add(request)
        task = asyncio.get_running_loop().create_task(self._serve(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _drop(self, request: Request) -> None:
        self.inside.discard(request)

    async def _serve(self, request: Request) -> None:
        try:
            await self._together(request)
        except Exception as error:
            self._settle(request, Failed(f"the batcher failed: {type(error).__name__}: {error}"))

    async def _batch(self, requests: list[Request]) -> list[None]:
        worker = self.workers[0]
        self.running += len(requests)
        try:
            await self._run(worker, self.pools[0], requests, len)
        finally:
            self.running -= len(requests)
        if worker.last_size and any(request.counted for request in requests):
            self.meters.batch(worker.last_size, "full" if len(requests) >= self.largest else "deadline")
        self.admission.served(worker.last_size, worker.last_s)
        return [None] * len(requests)
