"""`batching=time`: a batch closes `timeout_ms` after its oldest request arrived, with whoever is there by
then.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.serving.batching import Close, Wait, within_budget
from mlsys.serving.options import above, at_least


class Time:
    """A fixed window. `max_size` only bounds what one batch takes; it does not close a batch early."""

    def __init__(self, name: str, max_size: int, timeout_ms: float, max_padded_tokens: int | None) -> None:
        at_least("batching.max_size", max_size, 1)
        at_least("batching.timeout_ms", timeout_ms, 0)
        above("batching.max_padded_tokens", max_padded_tokens, 0)
        self.name, self.max_size, self.max_padded_tokens = name, max_size, max_padded_tokens
        self._timeout_s = timeout_ms / 1000

    def arrived(self, now: float) -> None:
        """Nothing to learn."""

    def answered(self, count: int, now: float) -> None:
        """Nothing to learn."""

    def decide(self, waiting: int, oldest: float, now: float) -> Close | Wait:
        """Wait out the window, then take all, up to `max_size`."""
        until = oldest + self._timeout_s
        return Wait(until) if now < until else Close(min(waiting, self.max_size), "deadline")

    def cut(self, tokens: Sequence[int]) -> int:
        """How many prompts fit a batch's size and padded tokens."""
        return within_budget(tokens[: self.max_size], self.max_padded_tokens)
