"""`server=batch`: dynamic batching. One worker; the batching policy says when a batch is closed."""

from __future__ import annotations

from typing import Any

from mlsys.serving import options
from mlsys.serving.modes import Parts, Service
from mlsys.serving.scheduler import Scheduler


class Batch:
    """Built from the knobs of `conf/server/batch.yaml`."""

    def __init__(self, **knobs: Any) -> None:
        self.options = options.Batch(**knobs)

    def service(self, parts: Parts) -> Service:
        """One pipeline behind the chosen batching policy."""
        policy = parts.batching()
        return Scheduler(self.options, [parts.pipeline()], policy)
