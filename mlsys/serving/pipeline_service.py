"""What the modes with pipelines of their own share: admission, a place inside, a batch on a worker's thread, answers.

A mode adds where requests wait and when they run: in one line under a policy (`mlsys.serving.scheduler`), or each in a
thread of its own (`mlsys.serving.modes.baseline`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from mlsys.rag import stopping
from mlsys.serving.admission import Admission
from mlsys.serving.decoders import Decoders
from mlsys.serving.fairness import Places, displaced
from mlsys.serving.http import schema
from mlsys.serving.meters import Meters
from mlsys.serving.modes import RAG, Answer, Names
from mlsys.serving.options import Server
from mlsys.serving.request import Clock, Expired, Failed, Refused, Request, ServiceError, Unavailable, Wish
from mlsys.serving.stream import Stream
from mlsys.serving.upstreams import Upstreams
from mlsys.serving.worker import Cut, Settle, Worker, failure

PROBE, PROBE_TOKENS = "Is everything there?", 2  # one is read, one written


class PipelineService(ABC):
    """A service that answers by workers in its own process. `largest`: requests of one batch, for warming."""

    def __init__(
        self, options: Server, workers: list[Worker], largest: int, clock: Clock = time.perf_counter
    ) -> None:
        self.options, self.workers, self.largest, self.clock = options, workers, largest, clock
        self.pools = [ThreadPoolExecutor(1, thread_name_prefix=f"worker-{i}") for i in range(len(workers))]
        self.admission = Admission(options.max_queue, len(workers))
        self.places = Places(options.fair_keys)
        self.running = self.embedding = 0
        self._names: Names | None = None
        self.meters = Meters()
        self.meters.gauge("queue_length", "Requests waiting in line.", self.queued)
        self.meters.gauge("requests_running", "Requests in the workers.", self.in_workers)
        self.meters.gauge("ready", "1 when ready.", lambda: self.state() == "ready")
        self.upstreams = Upstreams(workers)
        self.meters.registry.register(self.upstreams)
        self.decoders = Decoders(self.meters, len(workers), clock)
        self._state = "loading"

    def in_workers(self) -> int:
        """How many are being answered."""
        return self.running

    @abstractmethod
    def queued(self) -> int:
        """How many wait for a worker."""

    @abstractmethod
    def _begin(self) -> None:
        """Everything is loaded: requests may come."""

    @abstractmethod
    def _take(self, request: Request) -> None:
        """A request has come, `request.future` will tell of its end."""

    @abstractmethod
    def _drop(self, request: Request) -> None:
        """A request has its answer, or nobody waits for it any more."""

    async def start(self) -> None:
        """Load and warm each pipeline in its own thread, then answer one real request."""
        loop = asyncio.get_running_loop()
        for worker, pool in zip(self.workers, self.pools, strict=True):
            self.decoders.threads.append(await loop.run_in_executor(pool, threading.get_native_id))
            await loop.run_in_executor(pool, worker.pipeline.load)
            await loop.run_in_executor(pool, worker.pipeline.warm, self.largest)
        self._begin()
        await self._enter(self._probe())
        self._state = "ready"

    def _probe(self) -> Request:
        """A request that shows that all of it works; its answer is short."""
        return Request(PROBE, 1, clock=self.clock, counted=False, wish=Wish(max_tokens=PROBE_TOKENS))

    def state(self) -> str:
        """`ready`, `loading`, `draining`, `stalled`, or which server is not there that it asks."""
        if self._state == "ready" and any(e.stalled(self.options.stall_timeout_s) for e in self.workers):
            return "stalled"
        if self._state == "ready" and (trouble := self.upstreams.trouble()) is not None:
            return trouble
        return self._state

    def check(self, client: str = "") -> None:
        """Raise Unavailable or Refused if nothing of `client` can enter."""
        if self._state != "ready":
            raise Unavailable(f"the service is {self._state}", self.admission.retry_after_s(self.queued()))
        if self._yields(client) is None:
            self.admission.admit(self.queued())

    def _yields(self, client: str) -> Request | None:
        """Who would give its place to a request of `client`; None: nobody, or there is room."""
        is_full = self.queued() >= self.options.max_queue
        return self.places.yields(client, self._waits) if is_full else None

    def _waits(self, request: Request) -> bool:
        """Whether nothing has been done for it yet."""
        return request.item is None

    async def answer(self, request: Request) -> Answer:
        """Wait in line, be served, answer. Leaving early, for whatever reason, frees the place at once."""
        self.check(request.wish.client)
        if request.wish.embeds:
            return await self._embed(request)
        await self._enter(request)
        stopping.cut(request.item, request.wish.stop)
        if request.stream is not None:
            self._tell(request, request.stream)
        body = self._written(request)
        self.meters.parts(request.parts_s)
        return Answer(body, replica=self.options.label, passages=request.item.prompt_passages)

    async def _embed(self, request: Request) -> Answer:
        """Between batches: the worker's thread takes it as it comes."""
        wish = request.wish
        if self.embedding >= self.options.max_queue:
            raise Refused(f"server.max_queue={self.options.max_queue} requests wait for vectors", 1)
        embed = partial(self.workers[0].embed, wish.embeds, wish.embeds_passages)
        self.embedding += 1
        try:
            async with request.in_time():
                request.item = await asyncio.get_running_loop().run_in_executor(self.pools[0], embed)
        except TimeoutError:
            raise Expired("the deadline (timeout_ms) passed before the vectors were ready") from None
        except Exception as error:
            raise failure("embed", error) from error
        finally:
            self.embedding -= 1
        request.mark("embed")
        return Answer(self._written(request), replica=self.options.label)

    async def names(self) -> Names:
        """As the options call them."""
        if self._names is None:
            if self._state == "loading":
                raise Unavailable("the service is loading", 1)
            pipeline = self.workers[0].pipeline.describe()
            embedder = pipeline.get("embedder.name")
            texts = [RAG, str(pipeline["generator.name"])]
            self._names = Names(texts, [] if embedder is None else [str(embedder)])
        return self._names

    def _tell(self, request: Request, stream: Stream) -> None:
        """Everything at once: here an answer is whole before anything of it is known."""
        stream.replica = self.options.label
        stream.retrieved(request.item.passages)
        stream.write(request.item.result, request.item.tokens)

    def _written(self, request: Request) -> bytes:
        if request.stream is not None:
            request.mark("respond")
            return b""
        form = request.form
        whole = schema.rag_body if form is None else form.whole
        return whole(request, self.options.label)

    async def _enter(self, request: Request) -> None:
        if (other := self._yields(request.wish.client)) is not None:
            self.places.leave(other)
            self._drop(other)
            self._settle(other, displaced(self.admission.retry_after_s(self.queued())))
        request.future = asyncio.get_running_loop().create_future()
        self.places.enter(request)
        self.decoders.come()
        self._take(request)
        try:
            async with request.in_time():
                await request.future
        except TimeoutError:
            raise Expired("the deadline (timeout_ms) passed before the answer was ready") from None
        finally:
            request.leave()
            self.places.leave(request)
            self._drop(request)
            self.decoders.go()

    async def _run(
        self, worker: Worker, pool: ThreadPoolExecutor, batch: list[Request], cut: Cut
    ) -> list[Request]:
        return await self._in_thread(pool, batch, lambda settle: worker.run(batch, cut, settle))

    async def _in_thread(
        self, pool: ThreadPoolExecutor, batch: list[Request], work: Callable[[Settle], list[Request]]
    ) -> list[Request]:
        """What `work` returns; it may settle requests of `batch`, and an error of its own settles all of them."""
        loop = asyncio.get_running_loop()

        def settle(request: Request, error: ServiceError | None) -> None:
            loop.call_soon_threadsafe(self._settle, request, error)

        try:
            return await loop.run_in_executor(pool, work, settle)
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

    async def stats(self) -> dict[str, Any]:
        """Counters and the pipeline's description."""
        return {
            "mode": self.options.name,
            "state": self.state(),
            **self.meters.stats(),
            "decoded": self.decoders.counts(),
            "upstream": self.upstreams.counts(),
            "waiting": self.queued(),
            "running": self.in_workers(),
            "workers": len(self.workers),
            "pipeline": {} if self._state == "loading" else self.workers[0].pipeline.describe(),
        }

    def drain(self) -> None:
        """Refuse what comes from now on; what is in line is still answered."""
        self._state = "draining"

    async def close(self, drained: bool) -> None:
        """Stop; wait for the threads only if they have nothing left to do."""
        self.upstreams.close()
        for pool in self.pools:
            pool.shutdown(wait=drained, cancel_futures=True)
