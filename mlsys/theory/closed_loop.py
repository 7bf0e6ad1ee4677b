"""A closed loop: N clients, each of which asks again at once.

Nothing in it is random where a service's time is not, so these are exact. All N are in one batch of a cost α·N +
τ0, the throughput is X = N / (αN + τ0) and by Little's law each waits one batch. One at a time, X = 1/s and each
waits N turns. The bounds are those of operational analysis (Denning and Buzen, 1978): no more than N / (one alone),
no more than the worker's own rate; they cross where queueing begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ClosedLoop:
    """`clients` of a worker that takes `cost_ms(b)` for a batch of b, at most `max_batch` of them."""

    clients: int
    cost_ms: Callable[[float], float]
    max_batch: int

    @property
    def batch(self) -> float:
        """How many go together when all ask again at once; more clients than fit take turns in full batches."""
        return min(self.clients, self.max_batch)

    @property
    def throughput_rps(self) -> float:
        """X, answers a second."""
        return 1e3 * self.batch / self.cost_ms(self.batch)

    @property
    def mean_ms(self) -> float:
        """The mean latency: N / X."""
        return 1e3 * self.clients / self.throughput_rps


def crossing(alone_ms: float, most_rps: float) -> float:
    """N*: with more clients than this they wait for each other."""
    return alone_ms / 1e3 * most_rps
