"""`loadtest=burst`: `burst_size` requests in one instant, then silence until the mean rate is kept."""

from __future__ import annotations

from itertools import chain, cycle, repeat
from typing import Any

from mlsys.loadtest.arrivals import Listed, OpenLoop
from mlsys.loadtest.options import positive


class Burst(Listed):
    """`request_rate`: requests/s on average, or a list; a burst comes every `burst_size / request_rate` s."""

    def __init__(self, name: str, request_rate: Any, burst_size: int) -> None:
        self.name = name
        self.levels = positive("loadtest.request_rate", request_rate, whole=False)
        self.burst_size = int(positive("loadtest.burst_size", burst_size, whole=True)[0])

    def describe(self, level: float) -> dict[str, float]:
        """The level's `offered_rate_rps` and its bursts."""
        return {
            "offered_rate_rps": level,
            "burst_size": self.burst_size,
            "burst_period_s": self.burst_size / level,
        }

    def warmup(self, level: float, measured: int | None) -> int:
        """One burst."""
        return self.burst_size

    def process(self, level: float, seed: int) -> OpenLoop:
        """The arrivals of one level, the first burst at once; nothing in them is random."""
        period_s = self.burst_size / level
        rest = repeat(0.0, self.burst_size - 1)
        return OpenLoop(chain([0.0], rest, cycle([period_s, *repeat(0.0, self.burst_size - 1)])))
