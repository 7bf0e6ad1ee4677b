"""`balancer=least_in_flight`: the replica with the fewest requests in flight, ties in turn.

A slow replica holds its share of what is in flight. It is given a new request only once it has answered one.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.serving.balancer import C
from mlsys.serving.balancer.round_robin import RoundRobin


class LeastInFlight:
    """Counts come with the candidates; only the turns among equals are kept here."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._ties = RoundRobin(name)

    def choose(self, candidates: Sequence[C]) -> C:
        """One of those with the fewest in flight."""
        fewest = min(candidate.in_flight for candidate in candidates)
        return self._ties.choose([candidate for candidate in candidates if candidate.in_flight == fewest])
