"""What `queue` and `batch` share: admission, waiting line, policy, workers, answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlsys.serving.admission import Admission
from mlsys.serving.batching import Close, Policy
from mlsys.serving.meters import Meters
from mlsys.serving.modes import Answer
from mlsys.serving.options import Server
from mlsys.serving.request import Expired, Failed, Request, ServiceError, Unavailable
from mlsys.serving.worker import Pipeline, Worker

PROBE = "Is everything there?"


class Scheduler:
    """A service with one waiting line and one worker thread for each pipeline."""

    def __init__(self, options: Server, pipelines: list[Pipeline], policy: Policy) -> None:
        self.options, self.policy = options, policy
        self.workers = [Worker(pipeline) for pipeline in pipelines]
        self.pools = [ThreadPoolExecutor(1, thread_name_prefix=f"worker-{i}") for i in range(len(pipelines))]
        self.admission = Admission(options.max_queue, len(pipelines))
        self.waiting: deque[Request] = deque()
        self.running = 0
        self.meters = Meters()
        self.meters.gauge("queue_length", "Requests waiting in line.", self.queued)
        self.meters.gauge("requests_running", "Requests in the workers.", lambda: self.running)
        self.meters.gauge("ready", "1 when ready.", lambda: self.state() == "ready")
        self._state = "loading"
        self._changed = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load and warm each pipeline in its own thread, then answer one real request."""
        loop = asyncio.get_running_loop()
        for worker, pool in zip(self.workers, self.pools, strict=True):
            await loop.run_in_executor(pool, worker.pipeline.load)
            await loop.run_in_executor(pool, worker.pipeline.warm, self.policy.max_size)
        self._loops = self._start_loops()
        await self._enter(Request(PROBE, 1, counted=False))
        self._state = "ready"

    def state(self) -> str:
        """`ready`, `loading`, `draining` or `stalled`."""
        if self._state == "ready" and any(e.stalled(self.options.stall_timeout_s) for e in self.workers):
            return "stalled"
        return self._state

    def queued(self) -> int:
        """How many wait in line."""
        return len(self.waiting)

    def check(self) -> None:
        """Raise Unavailable or Refused if nothing can enter."""
        if self._state != "ready":
            raise Unavailable(f"the service is {self._state}", self.admission.retry_after_s(self.queued()))
        self.admission.admit(self.queued())

    async def answer(self, request: Request) -> Answer:
        """Wait in line, be served, answer. Leaving early, for whatever reason, frees the place at once."""
        self.check()
        await self._enter(request)
        return self.respond(request)

    def respond(self, request: Request) -> Answer:
        """The finished request as JSON; writing it is what `respond` measures."""
        item = request.item
        content: dict[str, Any] = {
            "query": request.query,
            "result": item.result,
            "passages": [
                {"id": int(hit.id), "score": _finite(hit.score), "text": hit.text, "source": hit.source}
                for hit in item.passages
            ],
            "batch_size": request.batch_size,
            "tokens": int(item.tokens),
            "request_id": request.id,
            "replica": self.options.label,
        }
        text = json.dumps(content, allow_nan=False)
        request.mark("respond")
        self.meters.parts(request.parts_s)
        timings = json.dumps(request.timings_ms())
        return Answer(f'{text[:-1]}, "timings_ms": {timings}}}'.encode(), replica=self.options.label)

    async def _enter(self, request: Request) -> None:
        request.future = asyncio.get_running_loop().create_future()
        self.waiting.append(request)
        self._dispatch(request)
        try:
            async with asyncio.timeout(request.remaining_s):
                await request.future
        except TimeoutError:
            raise Expired("the deadline (timeout_ms) passed before the answer was ready") from None
        finally:
            request.cancelled = True
            with contextlib.suppress(ValueError):
                self.waiting.remove(request)

    def _start_loops(self) -> list[asyncio.Task[None]]:
        pairs = zip(self.workers, self.pools, strict=True)
        return [asyncio.create_task(self._work(worker, pool)) for worker, pool in pairs]

    def _dispatch(self, request: Request) -> None:
        self.policy.arrived(request.arrived_at)
        self._changed.set()

    async def _work(self, worker: Worker, pool: ThreadPoolExecutor) -> None:
        began: float | None = None
        while True:
            batch, reason = await self._next_batch()
            now = time.perf_counter()
            if began is not None:
                self.meters.cycle(now - began)
            self.running += len(batch)
            later = await self._run(worker, pool, batch)
            self.running -= len(batch)
            size = worker.last_size
            if size and any(request.counted for request in batch):
                self.meters.batch(size, "budget" if later else reason)
            self.waiting.extendleft(r for r in reversed(later) if not r.cancelled)
            self.admission.served(size, worker.last_s)
            self.policy.answered(sum(map(_answered, batch)), time.perf_counter())
            began = now if self.waiting else None  # a worker that idles in between makes no cycle

    async def _run(self, worker: Worker, pool: ThreadPoolExecutor, batch: list[Request]) -> list[Request]:
        loop = asyncio.get_running_loop()

        def settle(request: Request, error: ServiceError | None) -> None:
            loop.call_soon_threadsafe(self._settle, request, error)

        try:
            return await loop.run_in_executor(pool, worker.run, batch, self.policy.cut, settle)
        except Exception as error:
            for request in batch:
                self._settle(request, Failed(f"the worker failed: {type(error).__name__}: {error}"))
            return []

    def _settle(self, request: Request, error: ServiceError | None) -> None:
        future = request.future
        if future is None or future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(None)

    async def _next_batch(self) -> tuple[list[Request], str]:
        while True:
            until: float | None = None
            if self.waiting:
                now = time.perf_counter()
                decision = self.policy.decide(len(self.waiting), self.waiting[0].arrived_at, now)
                if isinstance(decision, Close):
                    count = min(decision.count, len(self.waiting))
                    return [self.waiting.popleft() for _ in range(count)], decision.reason
                until = None if decision.until is None else max(0.0, decision.until - now)
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until):
                    await self._changed.wait()

    async def stats(self) -> dict[str, Any]:
        """Counters and the pipeline's description."""
        return {
            "mode": self.options.name,
            "state": self.state(),
            **self.meters.stats(),
            "waiting": self.queued(),
            "running": self.running,
            "workers": len(self.workers),
            "pipeline": {} if self._state == "loading" else self.workers[0].pipeline.describe(),
        }

    def drain(self) -> None:
        """Refuse what comes from now on; what is in line is still answered."""
        self._state = "draining"

    async def close(self, drained: bool) -> None:
        """Stop the workers; wait for the threads only if they have nothing left to do."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        for pool in self.pools:
            pool.shutdown(wait=drained, cancel_futures=True)


def _answered(request: Request) -> bool:
    """Whether the request has its answer: it did not fail, and nobody left before it came."""
    future = request.future
    return future is not None and future.done() and not future.cancelled() and future.exception() is None


def _finite(score: float) -> float | None:
    """JSON has no nan, which is the cosine of a question without any word the embedder knows."""
    return float(score) if math.isfinite(score) else None
