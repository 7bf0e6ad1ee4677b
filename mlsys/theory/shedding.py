"""Deadlines: who has waited for as long as its deadline leaves, and who is answered too late has been served in vain.

M/M/1 with a patience of τ until service begins (Barrer, Queuing with impatient customers and ordered service,
Operations Research 5, 1957; Baccelli and Hebuterne, 1981). The work that an arrival finds has the density
p0·λ·e^{(λ−μ)x} below τ and p0·λ·e^{λτ−μx} above it, where nobody adds to it. It has a steady state at any load.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Shedding:
    """`rate_rps` arrivals a second, exponential services of `service_ms`, `deadline_ms` from the arrival on."""

    rate_rps: float
    service_ms: float
    deadline_ms: float

    @property
    def idle(self) -> float:
        """p0: the share of time in which the worker has nothing to do."""
        rate, serve, grow = self.rate_rps / 1e3, 1 / self.service_ms, self._growth
        below = rate * (math.expm1(grow * self.deadline_ms) / grow if grow else self.deadline_ms)
        return 1 / (1 + below + rate / serve * math.exp(grow * self.deadline_ms))

    @property
    def _growth(self) -> float:
        return self.rate_rps / 1e3 - 1 / self.service_ms

    @property
    def left(self) -> float:
        """The share of requests that leave the line unserved."""
        rho = self.rate_rps / 1e3 * self.service_ms
        return self.idle * rho * math.exp(self._growth * self.deadline_ms)

    @property
    def late(self) -> float:
        """The share that the worker begins in time and that are still answered too late."""
        return self.idle * math.exp(self._growth * self.deadline_ms)

    @property
    def in_time(self) -> float:
        """The share answered within their deadline."""
        return 1 - self.left - self.late
