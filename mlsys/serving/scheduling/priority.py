"""`scheduling=priority`: the larger number goes first, and puts off a running one of a smaller number if it must."""

from __future__ import annotations

from mlsys.serving.scheduling import Candidate, Key, Policy


class Priority(Policy):
    """By priority, then by arrival."""

    def key(self, waiting: Candidate) -> Key:
        """The priority, then when it came."""
        return (-waiting.priority, waiting.arrived_at)

    def gives_way(self, running: Candidate, waiting: Candidate) -> bool:
        """Only to a larger number: equals do not put each other off for ever."""
        return running.priority < waiting.priority
