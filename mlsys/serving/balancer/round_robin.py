"""`balancer=round_robin`: each replica in turn, whichever of them can be chosen at the time.

Blind to how long a replica takes: a slow one gets as many requests as the others, and clients that wait for their
answers end up in its queue.

The one that was chosen longest ago is next. On a fixed set that is plain rotation; a set that changes (a
replica is down, or was tried already) does not disturb the turns of the others, as one counter taken modulo
the number would.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.serving.balancer import C
from mlsys.serving.balancer.standing import Turns


class RoundRobin:
    """Keeps the order of choices by name. `place`: where among the candidates the chosen one stood."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._turns, self.place = Turns(), 0

    def choose(self, candidates: Sequence[C]) -> C:
        """The candidate chosen longest ago; never chosen ones first, in the order given."""
        self.place = int(self._turns.of(candidates).argmin())
        return self._turns.take(candidates, self.place)
