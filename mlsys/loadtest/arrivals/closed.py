"""`loadtest=closed`: so many clients, each of which asks again as soon as it has its answer."""

from __future__ import annotations

from typing import Any

from mlsys.loadtest.arrivals import Listed
from mlsys.loadtest.options import positive


class Closed(Listed):
    """`concurrency`: clients, a number or a list with one load level each."""

    def __init__(self, name: str, concurrency: Any) -> None:
        self.name = name
        self.levels = positive("loadtest.concurrency", concurrency, whole=True)

    def describe(self, level: float) -> dict[str, float]:
        """The level's `concurrency`."""
        return {"concurrency": int(level)}

    def warmup(self, level: float, measured: int | None) -> int:
        """One wave: the measured requests begin where the first client asks again."""
        return int(level)

    def process(self, level: float, seed: int) -> ClosedLoop:
        """The arrivals of one level; nothing in them is random."""
        return ClosedLoop(int(level))


class ClosedLoop:
    """A request is due whenever fewer than `concurrency` are in flight."""

    open_loop = False

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency

    def due_s(self, now_s: float, in_flight: int) -> float | None:
        """At once, or not before an answer."""
        return now_s if in_flight < self.concurrency else None

    def sent(self) -> None:
        """Nothing to remember."""
