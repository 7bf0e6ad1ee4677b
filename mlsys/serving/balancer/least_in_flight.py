"""`balancer=least_in_flight`: the replica with the fewest requests in flight, ties in turn.

A slow replica holds its share of what is in flight. It is given a new request only once it has answered one.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.serving.balancer import C
from mlsys.serving.balancer.standing import Turns, in_flight

TURNS = 40  # bits: more turns than any service has


class LeastInFlight:
    """Counts come with the candidates; only the turns among equals are kept here."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._turns = Turns()

    def choose(self, candidates: Sequence[C]) -> C:
        """One of those with the fewest in flight."""
        order = (in_flight(candidates) << TURNS) + self._turns.of(candidates)
        return self._turns.take(candidates, int(order.argmin()))
