"""`balancer=power_of_two`: of two replicas drawn at random, the one with fewer requests in flight.

Nearly as even as looking at all of them, without the herd that several balancers make when all see the same
emptiest replica (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from mlsys.serving.balancer import C


class PowerOfTwo:
    """`seed` decides the draws."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._random = random.Random(seed)

    def choose(self, candidates: Sequence[C]) -> C:
        """The less busy of two drawn candidates; the only one if there is one."""
        drawn = self._random.sample(candidates, min(2, len(candidates)))
        return min(drawn, key=lambda candidate: candidate.in_flight)
