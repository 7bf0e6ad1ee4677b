"""`loadtest=poisson`: independent users, that is exponential times between requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlsys.loadtest.arrivals import Listed, OpenLoop, open_loop_warmup
from mlsys.loadtest.options import positive


class Poisson(Listed):
    """`request_rate`: requests/s on average, a number or a list with one load level each."""

    def __init__(self, name: str, request_rate: Any) -> None:
        self.name = name
        self.levels = positive("loadtest.request_rate", request_rate, whole=False)

    def describe(self, level: float) -> dict[str, float]:
        """The level's `offered_rate_rps`."""
        return {"offered_rate_rps": level}

    def warmup(self, level: float, measured: int | None) -> int:
        """A tenth of what is measured."""
        return open_loop_warmup(measured)

    def process(self, level: float, seed: int) -> OpenLoop:
        """The arrivals of one level. One seed gives all levels the same pattern, stretched."""
        return OpenLoop(exponential(level, seed))


def exponential(rate_rps: float, seed: int) -> Iterator[float]:
    """Endless exponential gaps in s, with a mean of 1/rate."""
    random = np.random.default_rng(seed)
    while True:
        yield float(random.exponential()) / rate_rps
