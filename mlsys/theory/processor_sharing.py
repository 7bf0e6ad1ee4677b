"""Processor sharing: all requests inside are served at once, each by an equal share of the worker.

With independent users the mean latency is s / (1 − ρ) whatever the distribution of the work (Kleinrock, 1967), and
a request of work x takes x / (1 − ρ) on average. It is what threads do that share an engine without a lock.
`server=baseline` has a lock: there requests go one at a time in no promised order, and since that order knows
nothing of their work, the mean is that of a line (`mlsys.theory.deterministic`).
"""

from __future__ import annotations

from dataclasses import dataclass

from mlsys.theory.law import stable


@dataclass(frozen=True)
class ProcessorSharing:
    """`rate_rps` arrivals a second of `service_ms` of work on average. Raises Unstable."""

    rate_rps: float
    service_ms: float

    def __post_init__(self) -> None:
        stable(self.utilisation)

    @property
    def utilisation(self) -> float:
        """ρ."""
        return self.rate_rps / 1e3 * self.service_ms

    @property
    def mean_ms(self) -> float:
        """The mean latency."""
        return self.of_work_ms(self.service_ms)

    def of_work_ms(self, work_ms: float) -> float:
        """The mean latency of a request that alone would take `work_ms`."""
        return work_ms / (1 - self.utilisation)
