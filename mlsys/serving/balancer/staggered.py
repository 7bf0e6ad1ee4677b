"""`balancer=staggered`: replicas fill their batches one after the other, so that these begin in turn.

Behind `round_robin` each of N replicas that batch gets a part of the requests all the time. Who comes just after a
batch has begun waits for it and then for its own: with a batch cost of ℓ(b) the limit L holds where 2·ℓ(b) ≤ L.
Here all requests of a slot go to one replica, and those of the next slot to the next. With slots of ℓ(b)/N a
replica is free again when its turn comes, a request waits one slot and then its batch, and (1 + 1/N)·ℓ(b) ≤ L is
enough: larger batches for the same limit (Symphony, arXiv 2308.07470). The replica's own window must be the slot:
`batching=time batching.timeout_ms` the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mlsys.serving.balancer import C
from mlsys.serving.balancer.round_robin import RoundRobin
from mlsys.serving.options import above


class Staggered:
    """`slot_ms`: how long, from its first request on, a replica gets all of them."""

    def __init__(self, name: str, slot_ms: float, clock: Callable[[], float] = time.monotonic) -> None:
        above("balancer.slot_ms", slot_ms, 0)
        self.name, self._slot_s, self._clock = name, slot_ms / 1e3, clock
        self._place = 0  # where the current one stands, mostly
        self._turns, self._current, self._until = RoundRobin(name), "", float("-inf")

    def choose(self, candidates: Sequence[C]) -> C:
        """The replica whose slot it is, or where that one cannot be chosen the next; the slot stays its own."""
        now = self._clock()
        if now >= self._until:
            self._current, self._until = self._turns.choose(candidates).name, now + self._slot_s
            self._place = self._turns.place
        if not (self._place < len(candidates) and candidates[self._place].name == self._current):
            names = [(candidate.name < self._current, candidate.name) for candidate in candidates]
            self._place = names.index(min(names))
        return candidates[self._place]
