"""`fault=latency`: each piece of data between balancer and replica is late by `latency_ms`, in both directions."""

from __future__ import annotations

from mlsys.faults import at_least
from mlsys.faults.detour import Bent, Rule


class Latency(Bent):
    """A question and its answer take twice `latency_ms` longer, where each is one piece."""

    did = "the way to {} was longer"

    def __init__(
        self, name: str, at_s: float, for_s: float, target: str, seed: int, latency_ms: float
    ) -> None:
        super().__init__(name, at_s, target, seed, for_s)
        at_least(name, "latency_ms", latency_ms, 0)
        self.latency_ms = latency_ms

    def made(self) -> Rule:
        """Everything is late."""
        return Rule(delay_s=self.latency_ms / 1e3)
