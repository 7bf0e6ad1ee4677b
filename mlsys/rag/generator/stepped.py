"""The thread that drives an engine which schedules by itself: answers join and leave between its steps.

The engine is openvino-genai's `ContinuousBatchingPipeline`, or whatever has its four methods. It holds Python's lock
while it computes a step, so that the process's other threads get their turn in between.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

STOP_S = 10.0


class Handle(Protocol):
    """One sequence in the engine."""

    def can_read(self) -> bool: ...  # noqa: D102
    def read(self) -> dict[int, Any]: ...  # noqa: D102
    def get_status(self) -> Any: ...  # noqa: D102
    def cancel(self) -> None: ...  # noqa: D102


class Engine(Protocol):
    """What is driven."""

    def add_request(self, request_id: int, input_ids: Any, generation_config: Any) -> Handle: ...  # noqa: D102
    def has_non_finished_requests(self) -> bool: ...  # noqa: D102
    def step(self) -> None: ...  # noqa: D102


class Job:
    """One answer. `wrote` is called with its new tokens, in the engine's thread; where it is true, they are enough."""

    def __init__(
        self, ids: Any, config: Any, begins: Callable[[], None], wrote: Callable[[list[int]], bool]
    ) -> None:
        self.ids, self.config, self.begins, self.wrote = ids, config, begins, wrote
        self.future: Future[None] = Future()
        self.handle: Handle


class Stepped:
    """Answers that begin before `drive` wait for it."""

    def __init__(self) -> None:
        self._arriving, self._jobs = deque[Job](), list[Job]()
        self._told, self._over = threading.Condition(), False
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._engine: Engine
        self._running: Any

    def drive(self, engine: Engine, running: Any) -> None:
        """Begin. `running`: the status of a sequence that is not at its end."""
        self._engine, self._running = engine, running
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many answers the engine has not been given."""
        return len(self._arriving)

    @property
    def in_flight(self) -> int:
        """How many it has."""
        return len(self._jobs)

    def begin(self, jobs: Sequence[Job]) -> None:
        """From any thread: the next step has all of them. A job's future tells of its end; cancelling it ends it."""
        with self._told:
            self._arriving.extend(jobs)
            self._told.notify()

    def stop(self) -> None:
        """From another thread: leave everything as it is."""
        with self._told:
            self._over = True
            self._told.notify()
        self._thread.join(STOP_S)

    def _work(self) -> None:
        while self._admit():
            try:
                self._step()
            except Exception as error:  # an engine raises what it likes, and what was in the step is lost
                self._fail(error)

    def _admit(self) -> bool:
        """Give the engine whoever has come; wait where there is nothing to do. False: it is over."""
        while (job := self._next()) is not None:
            if job.future.cancelled():
                continue
            try:
                job.handle = self._engine.add_request(next(self._numbers), job.ids, job.config)
            except Exception as error:  # it fails alone
                _settle(job, error)
            else:
                self._jobs.append(job)
                job.begins()
        return not self._over

    def _next(self) -> Job | None:
        """Who has come; None where the engine has work and nobody has, or it is over."""
        with self._told:
            self._told.wait_for(lambda: self._jobs or self._arriving or self._over)
            return self._arriving.popleft() if self._arriving and not self._over else None

    def _step(self) -> None:
        for job in [job for job in self._jobs if job.future.cancelled()]:
            self._leave(job)
        busy = bool(self._jobs) and self._engine.has_non_finished_requests()
        if busy:
            self._engine.step()
        for job in list(self._jobs):
            ended = not busy or job.handle.get_status() != self._running
            tokens = _read(job.handle)
            if (tokens and job.wrote(tokens)) or ended:
                self._leave(job)
                _settle(job, None)

    def _leave(self, job: Job) -> None:
        """Its memory is free after the next step."""
        self._jobs.remove(job)
        job.handle.cancel()

    def _fail(self, error: Exception) -> None:
        for job in list(self._jobs):
            self._leave(job)
            _settle(job, error)


def _read(handle: Handle) -> list[int]:
    """The tokens since the last time."""
    if not handle.can_read():
        return []
    return [int(token) for output in handle.read().values() for token in output.generated_ids]


def _settle(job: Job, error: Exception | None) -> None:
    if not job.future.set_running_or_notify_cancel():
        return
    if error is not None:
        job.future.set_exception(error)
    else:
        job.future.set_result(None)
