"""What `queue` and `batch` share: one waiting line, and a policy that says when a batch of it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from mlsys.serving.batching import Close, Gate, Policy
from mlsys.serving.fairness import Line
from mlsys.serving.options import Server
from mlsys.serving.pipeline_service import PipelineService
from mlsys.serving.request import Clock, Refused, Request
from mlsys.serving.worker import Pipeline, Worker


class Scheduler(PipelineService):
    """A service with one waiting line and one worker thread for each pipeline."""

    def __init__(
        self, options: Server, pipelines: list[Pipeline], policy: Policy, clock: Clock = time.perf_counter
    ) -> None:
        self.policy = policy
        self._gate = policy if isinstance(policy, Gate) else None
        self.waiting = Line(options.fair_keys)
        super().__init__(options, [Worker(pipeline, clock) for pipeline in pipelines], policy.max_size, clock)
        self._changed = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    def queued(self) -> int:
        """How many wait in line."""
        return len(self.waiting)

    def check(self, client: str = "") -> None:
        """Raise Unavailable or Refused if nothing can enter, or nothing that would be answered in time."""
        super().check(client)
        if self._gate is not None:
            came = [request.arrived_at for request in self.waiting]
            if (reason := self._gate.refuses(came, self.clock())) is not None:
                raise Refused(reason, self.admission.retry_after_s(len(came)))

    def _begin(self) -> None:
        pairs = zip(self.workers, self.pools, strict=True)
        self._loops = [asyncio.create_task(self._work(worker, pool)) for worker, pool in pairs]

    def _take(self, request: Request) -> None:
        self.waiting.append(request)
        self.policy.arrived(request.arrived_at)
        self._changed.set()

    def _drop(self, request: Request) -> None:
        if not _answered(request):  # who is answered has left the line
            with contextlib.suppress(ValueError):
                self.waiting.remove(request)

    async def _work(self, worker: Worker, pool: ThreadPoolExecutor) -> None:
        began: float | None = None
        while True:
            batch, reason = await self._next_batch()
            now = self.clock()
            if began is not None:
                self.meters.cycle(now - began)
            self.running += len(batch)
            later = await self._run(worker, pool, batch, self.policy.cut)
            self.running -= len(batch)
            self.meters.handover(self.clock() - now - _worked_s(batch[0]))
            size = worker.last_size
            if size and any(request.counted for request in batch):
                self.meters.batch(size, "budget" if later else reason)
                self.decoders.answered(batch)
            self.waiting.put_back(r for r in later if not r.cancelled)
            self.admission.served(size, worker.last_s)
            self.policy.answered(sum(map(_answered, batch)), self.clock())
            began = now if self.waiting else None  # a worker that idles in between makes no cycle

    async def _next_batch(self) -> tuple[list[Request], str]:
        while True:
            until: float | None = None
            if self.waiting:
                now = self.clock()
                decision = self.policy.decide(len(self.waiting), self.waiting.oldest_at, now)
                if isinstance(decision, Close):
                    return self.waiting.take(decision.count), decision.reason
                until = None if decision.until is None else max(0.0, decision.until - now)
            self._changed.clear()
            if until is None:
                await self._changed.wait()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until):
                    await self._changed.wait()

    async def close(self, drained: bool) -> None:
        """Stop the workers."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await super().close(drained)


def _worked_s(request: Request) -> float:
    """What the stages took of a request's time: all but its wait and its answer."""
    waited = ("queue", "respond")
    return sum(seconds for part, seconds in request.parts_s.items() if part not in waited)


def _answered(request: Request) -> bool:
    """Whether the request has its answer: it did not fail, and nobody left before it came."""
    future = request.future
    return future is not None and future.done() and not future.cancelled() and future.exception() is None
