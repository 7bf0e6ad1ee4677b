"""`server=batch`: dynamic batching. One worker; the batching policy says when a batch is closed."""

from __future__ import annotations

from mlsys.serving.modes import Parts, Service
from mlsys.serving.options import Server
from mlsys.serving.scheduler import Scheduler


class Batch(Server):
    """Has no knobs of its own."""

    def service(self, parts: Parts) -> Service:
        """One pipeline behind the chosen batching policy."""
        policy = parts.batching()
        return Scheduler(self, [parts.pipeline()], policy, parts.time.clock)
