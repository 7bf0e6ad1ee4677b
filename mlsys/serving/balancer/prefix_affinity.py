"""`balancer=prefix_affinity`: a request goes to the replica that has read what its prompt begins with.

Each prefix ranks the replicas by a hash of its own (rendezvous hashing: Thaler and Ravishankar, 1998): the ranks do not
change when others come or go. The first with room gets the request, and room is `bound` times an even share of what is
in flight (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018): no prefix, however
popular, makes one replica much busier than the others.

What a question's prompt begins with, its passages, the balancer learns from the answer, which names them. Until then
the question stands for itself. A conversation stays where it began: its prompts begin with what was said before.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import UserError
from mlsys.serving.balancer import C
from mlsys.serving.balancer.standing import Known, in_flight, number
from mlsys.serving.request import Request

LAST = np.uint64(2**64 - 1)
PREFIX_CHARS = 200  # of a text that is to be continued


class PrefixAffinity:
    """`bound`: at least 1; `remembered`: questions whose passages are kept in mind, those used last."""

    def __init__(self, name: str, bound: float, remembered: int) -> None:
        if not 1 <= bound < math.inf:
            raise UserError(f"balancer.bound={bound:g} must be at least 1")
        if remembered < 1:
            raise UserError(f"balancer.remembered={remembered} must be at least 1")
        self.name, self.bound, self.remembered = name, bound, remembered
        self._names = Known(number, np.uint64)
        self._passages: OrderedDict[tuple[str, int], int] = OrderedDict()

    def choose(self, candidates: Sequence[C]) -> C:
        """For what has no prefix."""
        return min(candidates, key=lambda candidate: candidate.in_flight)

    def choose_for(self, candidates: Sequence[C], request: Request) -> C:
        """The first in the prefix's ranks that has room."""
        counts = in_flight(candidates)
        room = math.ceil(self.bound * (int(counts.sum()) + 1) / len(candidates))
        ranks = _mixed(self._names.of(candidates) ^ np.uint64(number(self.prefix(request))))
        return candidates[int(np.where(counts < room, ranks, LAST).argmin())]

    def prefix(self, request: Request) -> str:
        """What stands for the beginning of its prompt."""
        wish = request.wish
        if wish.prompt is not None:
            return f"text {wish.prompt[:PREFIX_CHARS]}"
        if wish.messages:
            users = (message for message in wish.messages if message["role"] == "user")
            return f"conversation {next(users, wish.messages[0])['content']}"
        first = self._passages.get((request.query, request.k))
        if first is None:
            return f"question {request.query}"
        self._passages.move_to_end((request.query, request.k))
        return f"passage {first}"

    def learn(self, request: Request, passages: Sequence[int]) -> None:
        """These are the passages of its prompt, in their order."""
        if not passages or request.wish.messages or request.wish.prompt is not None:
            return
        self._passages[request.query, request.k] = passages[0]
        self._passages.move_to_end((request.query, request.k))
        if len(self._passages) > self.remembered:
            self._passages.popitem(last=False)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each value's bits spread over all 64 (the finalizer of splitmix64: Steele, Lea and Flood, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
