"""How many requests may be tried again: enough for a replica's sudden death, too few for a storm.

Each request earns `share` of a retry, up to `burst` in hand. A death breaks all its requests at once, so
the budget starts full; replicas that keep failing get at most `share` more load than without retries
(Finagle's RetryBudget).
"""

from __future__ import annotations


class RetryBudget:
    """A purse of retries."""

    def __init__(self, share: float, burst: int) -> None:
        self.share, self.burst = share, float(burst)
        self.left = float(burst)

    def earn(self) -> None:
        """A request has come."""
        self.left = min(self.burst, self.left + self.share)

    def spend(self) -> bool:
        """Take one retry; False if there is none left."""
        if self.left < 1:
            return False
        self.left -= 1
        return True
