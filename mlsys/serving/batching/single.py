"""No batching: the first in line goes alone, as soon as a worker is free. What `server=queue` uses."""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.serving.batching import Close, Wait


class Single:
    """Batches of one."""

    name = "single"
    max_size = 1

    def arrived(self, now: float) -> None:
        """Nothing to learn."""

    def answered(self, count: int, now: float) -> None:
        """Nothing to learn."""

    def decide(self, waiting: int, oldest: float, now: float) -> Close | Wait:
        """Go."""
        return Close(1, "full")

    def cut(self, tokens: Sequence[int]) -> int:
        """One."""
        return min(1, len(tokens))
