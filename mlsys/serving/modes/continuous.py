"""`server=continuous`: continuous batching, scheduled token by token; the group `scheduling` says whose turn it is."""

from __future__ import annotations

from mlsys.serving.continuous import service
from mlsys.serving.modes import Parts, Service
from mlsys.serving.options import Server


class Continuous(Server):
    """Has no knobs of its own."""

    def service(self, parts: Parts) -> Service:
        """One pipeline behind the chosen scheduling policy."""
        policy = parts.scheduling()
        return service.Continuous(self, parts.pipeline(), policy, parts.time)
