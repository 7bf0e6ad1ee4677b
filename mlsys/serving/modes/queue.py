"""`server=queue`: a bounded first-in-first-out line and one worker, or more, each with a pipeline of its
own.
"""

from __future__ import annotations

from typing import Any

from mlsys.serving import options
from mlsys.serving.batching.single import Single
from mlsys.serving.modes import Parts, Service
from mlsys.serving.scheduler import Scheduler


class Queue:
    """Built from the knobs of `conf/server/queue.yaml`."""

    def __init__(self, **knobs: Any) -> None:
        self.options = options.Queue(**knobs)

    def service(self, parts: Parts) -> Service:
        """As many pipelines as workers, one request at a time in each."""
        return Scheduler(self.options, [parts.pipeline() for _ in range(self.options.workers)], Single())
