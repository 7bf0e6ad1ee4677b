"""`batching=hybrid`: a batch closes when it is full or the oldest request has waited `timeout_ms`.

Two things make it lose nothing at low load and no batch at high load. A request that finds the worker idle,
with nobody expected, is dispatched at once. And a worker that has just answered k clients expects them
back: in a closed loop their next requests come within milliseconds, so it lingers for them instead of
running off with the few that were left in line, which would alternate large and small batches for ever. It
lingers longer for many, who come back one after the other. How many come back is learned, so that in an open
loop, where nobody does, the lingering stops: what arrives after an answer counts only as far as it is more than
what arrives in the same time later.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.serving.batching import Close, Wait, within_budget
from mlsys.serving.options import above, at_least

LEARNING_RATE = 0.2
CLOSED_LOOP = 0.5  # with at least this share of clients coming back, lingering pays
RETURN_S = 0.001  # a client more that is expected back: one more answer to write and one more request to read


class Hybrid:
    """`timeout_ms`: window from the oldest arrival; `linger_ms`: from the last answer, and a millisecond more for
    every client answered, while some are still expected.

    Both 0 take whatever waits as soon as the worker is free. `max_padded_tokens` bounds number x longest
    prompt.
    """

    def __init__(
        self,
        name: str,
        max_size: int,
        timeout_ms: float,
        linger_ms: float,
        max_padded_tokens: int | None,
    ) -> None:
        at_least("batching.max_size", max_size, 1)
        at_least("batching.timeout_ms", timeout_ms, 0)
        at_least("batching.linger_ms", linger_ms, 0)
        above("batching.max_padded_tokens", max_padded_tokens, 0)
        self.name, self.max_size, self.max_padded_tokens = name, max_size, max_padded_tokens
        self._timeout_s, self._linger_s = timeout_ms / 1000, linger_ms / 1000
        self._free_since = self._linger_until = float("-inf")
        self._answered, self._arrivals, self._returned, self._return_rate = 0, 0, 0, 1.0

    def arrived(self, now: float) -> None:
        """A request has joined the line: perhaps one of those just answered is back."""
        self._arrivals += 1
        if now <= self._linger_until:
            self._returned += 1

    def answered(self, count: int, now: float) -> None:
        """`count` clients got their answers; learn from how many of the last ones came back."""
        if self._answered:
            share = min(1.0, max(0.0, self._returned - self._strangers(now)) / self._answered)
            self._return_rate += LEARNING_RATE * (share - self._return_rate)
        self._answered, self._free_since = count, now
        self._linger_until = now + (self._linger_s + count * RETURN_S if self._linger_s else 0.0)
        self._arrivals = self._returned = 0

    def _strangers(self, now: float) -> float:
        """How many of those that came while it lingered would have come without an answer, by the rate since."""
        lingered, since = self._linger_until - self._free_since, now - self._linger_until
        return (self._arrivals - self._returned) * lingered / since if since > 0 else 0.0

    def expected(self, now: float) -> int:
        """How many of the clients just answered should still come back within the linger."""
        if now >= self._linger_until or self._return_rate < CLOSED_LOOP:
            return 0
        return max(0, self._answered - self._arrivals)

    def decide(self, waiting: int, oldest: float, now: float) -> Close | Wait:
        """Full, else hold while the window is open and company likely, else go. See the module's text."""
        if waiting >= self.max_size:
            return Close(self.max_size, "full")
        deadline = oldest + self._timeout_s
        until = deadline if oldest < self._free_since else now
        if self.expected(now):
            until = max(deadline, self._linger_until)
        if now < until:
            return Wait(until)
        return Close(waiting, "deadline" if now >= deadline else "idle")

    def cut(self, tokens: Sequence[int]) -> int:
        """How many prompts fit a batch's size and padded tokens."""
        return within_budget(tokens[: self.max_size], self.max_padded_tokens)
