"""The service of an engine with steps: prompts are prepared in one thread, and answers written in another.

The second runs the steps, so retrieval overlaps with decoding.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlsys.serving.continuous.answering import Answering
from mlsys.serving.continuous.blocks import PrefixCache
from mlsys.serving.continuous.loop import Loop
from mlsys.serving.continuous.meters import TokenMeters
from mlsys.serving.continuous.planner import Plan, Planner
from mlsys.serving.continuous.prepared import Prepared, failed
from mlsys.serving.continuous.sequence import Sequence
from mlsys.serving.options import Server
from mlsys.serving.realtime import REAL, Time
from mlsys.serving.request import Expired, Request, ServiceError
from mlsys.serving.scheduling import Policy
from mlsys.serving.worker import Pipeline

# Where so many answers are written on a GPU, preparing prompts takes Python's lock from the thread that launches the
# steps, for some prompts about as long as for one: they wait so long for each other.
MANY, GATHERING_S = 32, 0.005
Piece = tuple[Request, str]
Outcome = tuple[Request, ServiceError | None]


class Continuous(Prepared):
    """One pipeline, its generator driven token by token under a scheduling policy."""

    loop: Loop
    token_meters: TokenMeters

    def __init__(self, options: Server, pipeline: Pipeline, policy: Policy, time: Time = REAL) -> None:
        self.policy, self._time = policy, time
        self.answering: dict[Request, Answering] = {}
        super().__init__(options, pipeline, time.clock)
        self._steps = ThreadPoolExecutor(1, thread_name_prefix="steps")
        self._tasks: list[asyncio.Future[Any]] = []

    def queued(self) -> int:
        """How many have no slot yet."""
        return super().queued() + (self.loop.waiting if self._tasks else 0)

    def in_workers(self) -> int:
        """How many have a slot."""
        return len(self.loop.planner.running) if self._tasks else 0

    def _gathering_s(self) -> float:
        on_gpu = self.workers[0].pipeline.device.startswith("cuda")
        return GATHERING_S if on_gpu and self.in_workers() >= MANY else 0.0

    async def start(self) -> None:
        """Load, make the engine in the thread that will drive it, run its loop, answer one real request."""
        loop = asyncio.get_running_loop()
        self._events = loop
        (worker,), (pool,) = self.workers, self.pools
        await loop.run_in_executor(pool, worker.pipeline.load)
        await loop.run_in_executor(pool, worker.pipeline.warm_front, self.largest)
        self.decoders.threads = [await loop.run_in_executor(self._steps, threading.get_native_id)]
        self.loop = await loop.run_in_executor(self._steps, self._make)
        self.token_meters = TokenMeters(self.meters, self.loop)
        self._tasks = [
            self._time.drive(self.loop, self._steps),
            asyncio.ensure_future(self._prepare()),
        ]
        await self._enter(self._probe())
        self._state = "ready"

    def _make(self) -> Loop:
        pipeline, policy = self.workers[0].pipeline, self.policy
        generator = pipeline.generator
        self.limit = self.options.max_tokens or generator.max_new_tokens
        stepper = generator.stepper(
            policy.slots, policy.kv_memory, policy.prefix_share, generator.max_prompt_tokens + self.limit
        )
        stepper.warm(policy.max_step_tokens)
        cache = PrefixCache(stepper.blocks, stepper.block_tokens)
        planner = Planner(policy, stepper.slots, generator.ends, cache)
        ahead = int(pipeline.device == "cuda")
        return Loop(stepper, planner, self, ahead, self.clock, self._time.changed())

    def state(self) -> str:
        """As every service; a step that takes too long is a stall as well."""
        state = super().state()
        stalled = state == "ready" and self.loop.stalled(self.options.stall_timeout_s)
        return "stalled" if stalled else state

    def _waits(self, request: Request) -> bool:
        """It has no slot, and never had one."""
        answering = self.answering.get(request)
        return (
            super()._waits(request)
            if answering is None
            else answering.part == "queue" and not answering.first_at
        )

    def _drop(self, request: Request) -> None:
        super()._drop(request)
        if (answering := self.answering.pop(request, None)) is not None:
            self.loop.remove(answering.sequence)

    def _write(self, request: Request) -> None:
        """Its prompt is there: the loop takes it from here."""
        answering = Answering(request, self.workers[0].pipeline.generator, self.limit)
        self.answering[request] = answering
        self.loop.add(answering.sequence)

    def planned(self, plan: Plan) -> None:
        """Who has a slot, and who has lost it."""
        for sequence in plan.put_off:
            sequence.owner.put_off()
        for sequence in plan.entered:
            sequence.owner.entered()

    def wrote(self, plan: Plan, sequences: list[Sequence], seconds: float) -> None:
        """Tokens to text, and what is whole to its client."""
        pieces: list[Piece] = []
        done: list[Outcome] = []
        for sequence in sequences:
            if sequence.owner.is_quiet:
                continue
            try:
                self._advance(sequence, pieces, done)
            except Exception as error:
                self.loop.planner.remove(sequence)
                done.append((sequence.owner.request, failed("writing its text", error)))
        self.token_meters.step(plan, sequences, seconds)
        if pieces or done:
            self._events.call_soon_threadsafe(self._deliver, pieces, done)

    def _advance(
        self,
        sequence: Sequence,
        pieces: list[Piece],
        done: list[Outcome],
    ) -> None:
        answering: Answering = sequence.owner
        request = answering.request
        shown = answering.wrote(sequence.ids[-1])
        if answering.text is not None and answering.text.stopped:
            self.loop.planner.remove(sequence)
        if sequence.ended:
            shown += answering.end()
            done.append((request, None))
            now = request.marked_at - request.arrived_at
            self.token_meters.answered(answering.first_at - request.arrived_at, now, sequence.count)
        if request.stream is not None:
            pieces.append((request, shown))

    def hopeless(self, sequences: list[Sequence]) -> None:
        """Refused before their time is up."""
        error = Expired("the deadline (timeout_ms) would pass before the answer is ready")
        self._end(sequences, error)

    def failed(self, sequences: list[Sequence], error: Exception) -> None:
        """The engine raised on each of these alone."""
        self._end(sequences, failed("the engine's step", error))

    def _end(self, sequences: list[Sequence], error: ServiceError) -> None:
        done: list[Outcome] = [(sequence.owner.request, error) for sequence in sequences]
        self._events.call_soon_threadsafe(self._deliver, list[Piece](), done)

    def _deliver(self, pieces: list[Piece], done: list[Outcome]) -> None:
        for request, text in pieces:
            if request.stream is not None:
                request.stream.write(text, 1)
        if done:
            self._served(len(done), bool(self.answering))
        for request, error in done:
            self.answering.pop(request, None)
            self._settle(request, error)

    async def stats(self) -> dict[str, Any]:
        """As every service, and what the loop counts."""
        content = await super().stats()
        if not self._tasks:
            return content
        meters = self.token_meters
        described = {f"stepper.{name}": value for name, value in self.loop.stepper.describe().items()}
        content["pipeline"] |= described
        return {**content, "steps": dict(meters.steps), "tokens": meters.counts()}

    async def close(self, drained: bool) -> None:
        """Stop both threads."""
        if self._tasks:
            self.loop.stop()
            self._tasks[1].cancel()
            if drained:
                await asyncio.gather(*self._tasks, return_exceptions=True)
        self._steps.shutdown(wait=drained, cancel_futures=True)
        await super().close(drained)
