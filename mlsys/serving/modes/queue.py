"""`server=queue`: a bounded first-in-first-out line and one worker, or more, each with a pipeline of its
own.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlsys import device
from mlsys.serving.batching.single import Single
from mlsys.serving.modes import Parts, Service
from mlsys.serving.options import Server, at_least
from mlsys.serving.scheduler import Scheduler


@dataclass
class Queue(Server):
    """`workers`: so many pipelines, each with a thread."""

    workers: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("server.workers", self.workers, 1)

    def service(self, parts: Parts) -> Service:
        """As many pipelines as workers, one request at a time in each; they take the GPUs in turn."""
        pipelines = [parts.pipeline() for _ in range(self.workers)]
        for pipeline, own in zip(pipelines, device.in_turn(pipelines[0].device, self.workers), strict=True):
            pipeline.device = own
        return Scheduler(self, pipelines, Single(), parts.time.clock)
