"""The service of an engine that schedules by itself: each answer begins there as soon as its prompt is ready.

So there are no steps here and no policy. Text goes to the client as it comes. Reading (`prefill`) ends with the first
text: until then the answer may have waited in the engine, which nobody here can tell apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Protocol, runtime_checkable

from mlsys.rag.generator import Completion, Prompt, Wanted
from mlsys.rag.stages import GenerateStage, prompt, wanted
from mlsys.serving.continuous.prepared import Prepared
from mlsys.serving.options import Server
from mlsys.serving.request import Request
from mlsys.serving.worker import Pipeline, failure


@runtime_checkable
class Answering(Protocol):
    """A generator whose engine answers many at once, and tells each answer as it is written. `stream`: in pieces."""

    stream: bool

    @property
    def waiting(self) -> int:
        """How many answers have not begun."""
        ...

    @property
    def in_flight(self) -> int:
        """How many are being written."""
        ...

    def begin(
        self,
        prompt: Prompt,
        wanted: Wanted,
        begins: Callable[[], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Future[Completion]:
        """From any thread: one answer. Cancelling the future ends it.

        `begins` is called when the engine takes it in, `tell` with each piece of text, both in the engine's thread.
        """
        ...


class PassThrough(Prepared):
    """One pipeline, whose generator schedules by itself."""

    def __init__(self, options: Server, pipeline: Pipeline, generator: Answering) -> None:
        super().__init__(options, pipeline)
        self.generator, self._fill = generator, GenerateStage(pipeline.generator).fill
        self.answering: dict[Request, asyncio.Task[None]] = {}
        self._preparing: asyncio.Task[None] | None = None

    def queued(self) -> int:
        """How many have not been sent."""
        return super().queued() + self.generator.waiting

    def in_workers(self) -> int:
        """How many are being answered there."""
        return self.generator.in_flight

    async def start(self) -> None:
        """Load, warm, answer one real request."""
        self._events = asyncio.get_running_loop()
        (worker,), (pool,) = self.workers, self.pools
        await self._events.run_in_executor(pool, worker.pipeline.load)
        await self._events.run_in_executor(pool, worker.pipeline.generator.warm, 1)
        await self._events.run_in_executor(pool, worker.pipeline.warm_front, self.largest)
        self._preparing = asyncio.ensure_future(self._prepare())
        await self._enter(self._probe())
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
        item, generator = request.item, self.generator
        parts = ("prefill", "decode") if self.generator.stream else ("generate", "generate")
        together = 1
        waits = True

        def begun() -> None:
            nonlocal together
            request.mark("queue")
            together = generator.in_flight

        def told(text: str) -> None:
            nonlocal waits
            if waits:
                request.mark(parts[0])
                waits = False
            if request.stream is not None:
                request.stream.write(text, None)

        answer = await asyncio.wrap_future(
            generator.begin(
                prompt(item),
                wanted(item),
                lambda: self._later(begun),
                lambda text: self._later(partial(told, text)),
            )
        )
        request.mark(parts[0] if waits else parts[1])
        request.batch_size = round((together + generator.in_flight + 1) / 2)
        self._fill(item, answer)

    def _later(self, work: Callable[[], None]) -> None:
        """From a thread of the engine's: do it in this service's."""
        self._events.call_soon_threadsafe(work)

    async def close(self, drained: bool) -> None:
        """Give up what is still being answered."""
        tasks = [*self.answering.values(), *([self._preparing] if self._preparing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await super().close(drained)
