"""The service of an engine at an address: each answer begins there as soon as its prompt is ready, and is passed on.

That server schedules the tokens, so there are no steps here and no policy. Text goes to the client as it comes. Reading
(`prefill`) ends with the first text: until then the answer may have waited there, which nobody here can tell apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from mlsys.rag.generator import Completion, Prompt, Wanted
from mlsys.rag.stages import GenerateStage, prompt, wanted
from mlsys.rag.upstream import Upstream
from mlsys.serving.continuous.prepared import Prepared
from mlsys.serving.options import Server
from mlsys.serving.pipeline_service import PROBE
from mlsys.serving.request import Request, Wish
from mlsys.serving.worker import Pipeline, failure

T = TypeVar("T")
PROBE_TOKENS = 2


@runtime_checkable
class Answering(Protocol):
    """A generator whose server answers many at once, and tells each answer as it is written."""

    stream: bool
    upstream: Upstream

    def answer(
        self,
        prompt: Prompt,
        wanted: Wanted,
        begins: Callable[[], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Coroutine[Any, Any, Completion]:
        """Raises UpstreamError. The callbacks come in the upstream's thread."""
        ...


class PassThrough(Prepared):
    """One pipeline, whose generator is at an address."""

    def __init__(self, options: Server, pipeline: Pipeline, generator: Answering) -> None:
        super().__init__(options, pipeline)
        self.generator, self._fill = generator, GenerateStage(pipeline.generator).fill
        self.answering: dict[Request, asyncio.Task[None]] = {}
        self._preparing: asyncio.Task[None] | None = None

    def queued(self) -> int:
        """How many have not been sent."""
        return super().queued() + self.generator.upstream.waiting

    def in_workers(self) -> int:
        """How many are being answered there."""
        return self.generator.upstream.in_flight

    async def start(self) -> None:
        """Load, wait for the server, answer one real request."""
        self._events = asyncio.get_running_loop()
        (worker,), (pool,) = self.workers, self.pools
        await self._events.run_in_executor(pool, worker.pipeline.load)
        await self._events.run_in_executor(pool, worker.pipeline.generator.warm, 1)
        await self._events.run_in_executor(pool, worker.pipeline.warm_front, self.largest)
        self._preparing = asyncio.ensure_future(self._prepare())
        probe = Wish(max_tokens=PROBE_TOKENS)
        await self._enter(Request(PROBE, 1, clock=self.clock, counted=False, wish=probe))
        self._state = "ready"

    def _drop(self, request: Request) -> None:
        super()._drop(request)
        if (task := self.answering.pop(request, None)) is not None:
            task.cancel()

    def _write(self, request: Request) -> None:
        self.answering[request] = asyncio.ensure_future(self._answered(request))

    async def _answered(self, request: Request) -> None:
        try:
            await self._carry(request)
        except Exception as error:
            self._settle(request, failure("generate", error))
        else:
            self._settle(request, None)
        if self.answering.pop(request, None) is not None:
            self._served(1, bool(self.answering))

    async def _carry(self, request: Request) -> None:
        """Send it, pass its text on, fill its item in."""
        item, upstream = request.item, self.generator.upstream
        parts = ("prefill", "decode") if self.generator.stream else ("generate", "generate")
        together = 1
        waits = True

        def begun() -> None:
            nonlocal together
            request.mark("queue")
            together = upstream.in_flight

        def told(text: str) -> None:
            nonlocal waits
            if waits:
                request.mark(parts[0])
                waits = False
            if request.stream is not None:
                request.stream.write(text, None)

        answer = await asyncio.wrap_future(
            upstream.submit(
                self.generator.answer(
                    prompt(item),
                    wanted(item),
                    lambda: self._later(begun),
                    lambda text: self._later(partial(told, text)),
                )
            )
        )
        request.mark(parts[0] if waits else parts[1])
        request.batch_size = round((together + upstream.in_flight + 1) / 2)
        self._fill(item, answer)

    def _later(self, work: Callable[[], None]) -> None:
        """From the upstream's thread: do it in this service's."""
        self._events.call_soon_threadsafe(work)

    async def close(self, drained: bool) -> None:
        """Give up what is still being answered."""
        tasks = [*self.answering.values(), *([self._preparing] if self._preparing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await super().close(drained)
