"""When a batch is closed, and why: policies without sockets, threads or a clock of their own.

The batcher asks `decide` whenever a worker is free and something changed. The policy sees only counts and
times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

REASONS = ("full", "deadline", "idle", "budget")


@dataclass(frozen=True)
class Close:
    """Take the first `count` waiting requests now. `reason`: one of `REASONS`."""

    count: int
    reason: str


@dataclass(frozen=True)
class Wait:
    """Nothing yet: ask again when something changes, at the latest at `until` (seconds on the batcher's
    clock).
    """

    until: float | None


class Policy(Protocol):
    """A batching policy. Times are seconds on one clock."""

    name: str
    max_size: int

    def arrived(self, now: float) -> None:
        """A request has joined the line."""

    def answered(self, count: int, now: float) -> None:
        """The worker has just answered `count` requests and is free again."""

    def decide(self, waiting: int, oldest: float, now: float) -> Close | Wait:
        """A worker is free, `waiting` requests are in line, the first since `oldest`. What now?"""

    def cut(self, tokens: Sequence[int]) -> int:
        """How many of these prompts, in order, may be generated together. At least 1."""


@runtime_checkable
class Gate(Protocol):
    """A policy that also says who may join the line."""

    def refuses(self, waiting: Sequence[float], now: float) -> str | None:
        """Why a request that comes now may not, with those in line that came at `waiting`; None: it may."""


def within_budget(tokens: Sequence[int], budget: int | None) -> int:
    """How many prompts, in order, fit `budget` padded tokens: their number times the longest. At least 1.

    One prompt that is larger than the whole budget goes alone: it would otherwise wait for ever.
    """
    if budget is None:
        return len(tokens)
    longest = 0
    for count, length in enumerate(tokens):
        longest = max(longest, length)
        if count and (count + 1) * longest > budget:
            return count
    return len(tokens)
