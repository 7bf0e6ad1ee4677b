"""Takes one batch through the pipeline's stages, in a worker thread, so that the event loop is never
blocked.

Before each stage the requests that were cancelled or are past their deadline drop out. If a stage raises on
a batch, each of its requests is tried alone, so one that cannot be answered fails alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import UserError
from mlsys.rag.generator import Generator
from mlsys.rag.item import Stage
from mlsys.rag.upstream import UpstreamError
from mlsys.record import Scalar
from mlsys.serving.request import (
    BadGateway,
    Clock,
    Expired,
    Failed,
    Refused,
    Request,
    ServiceError,
    Unanswerable,
)

Embedded = tuple[NDArray[np.float32], int]  # vectors (N, dim), and the tokens of all texts
Settle = Callable[[Request, ServiceError | None], None]
Cut = Callable[[Sequence[int]], int]
FINAL = "generate"
OF_UPSTREAM = {400: Unanswerable, 429: Refused, 502: BadGateway, 504: Expired}
NO_REQUESTS_FAULT = (
    429,
    502,
    504,
)  # what one server does to a batch it would do to each of it, one after the other


class Pipeline(Protocol):
    """What the serving side needs of `mlsys.rag.pipeline.Pipeline`."""

    stages: tuple[Stage, ...]
    generator: Generator
    device: str

    def load(self) -> None: ...  # noqa: D102
    def embed(self, texts: Sequence[str], passages: bool) -> Embedded: ...  # noqa: D102
    def warm(self, max_batch: int) -> None: ...  # noqa: D102
    def warm_front(self, max_batch: int) -> None: ...  # noqa: D102
    def describe(self) -> dict[str, Scalar]: ...  # noqa: D102


class Worker:
    """One pipeline and the thread that drives it. `busy_since` tells a stalled worker from an idle one."""

    def __init__(self, pipeline: Pipeline, clock: Clock = time.perf_counter) -> None:
        self.pipeline, self._clock = pipeline, clock
        self.busy_since: float | None = None
        self.last_size, self.last_s = 0, 0.0

    def stalled(self, after_s: float) -> bool:
        """Whether one batch has been running for longer than `after_s`."""
        since = self.busy_since
        return since is not None and self._clock() - since > after_s

    def embed(self, texts: Sequence[str], passages: bool) -> Embedded:
        """Vectors of texts, apart from any batch."""
        return self.pipeline.embed(texts, passages)

    def run(self, batch: list[Request], cut: Cut, settle: Settle) -> list[Request]:
        """Take `batch` through the stages; `settle(request, error)` is called as soon as each outcome is
        known.

        `cut` says how many of the prepared prompts (their token counts, in order) may be generated
        together. Returns the requests beyond that, prepared and in order: they belong at the front of the
        next batch.
        """
        started = self.busy_since = self._clock()
        self.last_size = 0
        try:
            return self._run(batch, cut, settle)
        finally:
            self.busy_since, self.last_s = None, self._clock() - started

    def prepare(self, batch: list[Request], settle: Settle) -> list[Request]:
        """Take `batch` through all stages but the last: those of it whose prompts are ready, in order."""
        self.busy_since = self._clock()
        try:
            return self._prepare(batch, settle)
        finally:
            self.busy_since = None

    def _run(self, batch: list[Request], cut: Cut, settle: Settle) -> list[Request]:
        ready = self._prepare(batch, settle)
        count = cut([request.item.prompt_tokens for request in ready]) if ready else 0
        now, later = ready[:count], ready[count:]
        for request in now:
            request.batch_size = len(now)
            request.mark("queue")
        self.last_size = len(now)
        for request in self._stage(self.pipeline.stages[-1], now, settle):
            settle(request, None)
        return later

    def _prepare(self, batch: list[Request], settle: Settle) -> list[Request]:
        for request in batch:
            request.mark("queue")
        fresh = [request for request in batch if not request.prepared]
        for request in fresh:
            request.begin()
        for stage in self.pipeline.stages[:-1]:
            fresh = self._stage(stage, fresh, settle)
        for request in fresh:
            request.prepared = True
        return self._living([request for request in batch if request.prepared], settle)

    def _stage(self, stage: Stage, requests: list[Request], settle: Settle) -> list[Request]:
        living = self._living(requests, settle)
        if not living:
            return []
        try:
            stage([request.item for request in living])
        except Exception as error:
            living = self._one_by_one(stage, living, error, settle)
        for request in living:
            request.mark(stage.name)
        return [request for request in living if not self._failed_alone(stage, request, settle)]

    def _failed_alone(self, stage: Stage, request: Request, settle: Settle) -> bool:
        """Whether the stage went on with its batch, but not with this request."""
        error = request.item.failure
        if error is not None:
            settle(request, failure(stage.name, error))
        return error is not None

    def _one_by_one(
        self, stage: Stage, requests: list[Request], error: Exception, settle: Settle
    ) -> list[Request]:
        if len(requests) == 1 or (isinstance(error, UpstreamError) and error.status in NO_REQUESTS_FAULT):
            for request in requests:
                settle(request, failure(stage.name, error))
            return []
        return [request for one in requests for request in self._stage(stage, [one], settle)]

    def _living(self, requests: list[Request], settle: Settle) -> list[Request]:
        living = []
        for request in requests:
            if request.cancelled:
                settle(request, Expired("cancelled"))
            elif request.expired:
                settle(request, Expired("the deadline (timeout_ms) passed before the answer was ready"))
            else:
                living.append(request)
        return living


def failure(stage: str, error: Exception) -> ServiceError:
    """What the client is told of a stage that raised on its request alone."""
    if isinstance(error, UpstreamError):
        retry_after_s = None if error.retry_after_s is None else max(1, math.ceil(error.retry_after_s))
        return OF_UPSTREAM[error.status](f"the {stage} stage: {error}", retry_after_s)
    if isinstance(error, UserError):
        return Unanswerable(str(error))
    return Failed(f"the {stage} stage failed: {type(error).__name__}: {error}")
