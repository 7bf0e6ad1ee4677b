"""How many requests may be tried again: enough for a replica's sudden death, too few for a storm.

Each request earns `share` of a retry, up to `burst` in hand. A death breaks all its requests at once, so
the budget starts full; replicas that keep failing get at most `share` more load than without retries
(Finagle's RetryBudget).
"""

from __future__ import annotations

FOR_DEATHS = 0.5  # of the purse is kept for broken connections: busy replicas must not empty it


class RetryBudget:
    """A purse of retries."""

    def __init__(self, share: float, burst: int) -> None:
        self.share, self.burst = share, float(burst)
        self.left = float(burst)

    def earn(self) -> None:
        """A request has come."""
        self.left = min(self.burst, self.left + self.share)

    def spend(self, reserve: float = 0.0) -> bool:
        """Take one retry; False if fewer than `reserve` (a share of `burst`) would be left."""
        if self.left - 1 < reserve * self.burst:
            return False
        self.left -= 1
        return True
