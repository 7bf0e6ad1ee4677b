"""`batching=size`: a batch closes when it is full; `max_wait_ms` is the net below, so that no request
hangs.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.serving.batching import Close, Wait, within_budget
from mlsys.serving.options import above, at_least


class Size:
    """Batches of exactly `max_size`, smaller ones only when the oldest has waited `max_wait_ms`."""

    def __init__(self, name: str, max_size: int, max_wait_ms: float, max_padded_tokens: int | None) -> None:
        at_least("batching.max_size", max_size, 1)
        at_least("batching.max_wait_ms", max_wait_ms, 0)
        above("batching.max_padded_tokens", max_padded_tokens, 0)
        self.name, self.max_size, self.max_padded_tokens = name, max_size, max_padded_tokens
        self._max_wait_s = max_wait_ms / 1000

    def arrived(self, now: float) -> None:
        """Nothing to learn."""

    def answered(self, count: int, now: float) -> None:
        """Nothing to learn."""

    def decide(self, waiting: int, oldest: float, now: float) -> Close | Wait:
        """Full, or the oldest has waited long enough."""
        if waiting >= self.max_size:
            return Close(self.max_size, "full")
        until = oldest + self._max_wait_s
        return Wait(until) if now < until else Close(waiting, "deadline")

    def cut(self, tokens: Sequence[int]) -> int:
        """How many prompts fit a batch's size and padded tokens."""
        return within_budget(tokens[: self.max_size], self.max_padded_tokens)
