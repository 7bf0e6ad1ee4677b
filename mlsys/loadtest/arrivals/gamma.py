"""`loadtest=gamma`: users who come more in bunches than independent ones do, or more evenly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlsys.loadtest.arrivals import Listed, OpenLoop, open_loop_warmup
from mlsys.loadtest.options import positive


class Gamma(Listed):
    """Gamma distributed times between requests, as vLLM's `bench serve` draws them.

    `request_rate`: requests/s on average, a number or a list with one load level each. `burstiness`: the shape; 1 is
    poisson, less comes in bunches, more is more even. The times' coefficient of variation is 1 / √burstiness.
    """

    def __init__(self, name: str, request_rate: Any, burstiness: float) -> None:
        self.name = name
        self.levels = positive("loadtest.request_rate", request_rate, whole=False)
        self.burstiness = positive("loadtest.burstiness", burstiness, whole=False)[0]

    def describe(self, level: float) -> dict[str, float]:
        """The level's `offered_rate_rps`, and how unsteady its arrivals are."""
        cv = 1 / math.sqrt(self.burstiness)
        return {"offered_rate_rps": level, "burstiness": self.burstiness, "arrival_gap_cv": cv}

    def warmup(self, level: float, measured: int | None) -> int:
        """A tenth of what is measured."""
        return open_loop_warmup(measured)

    def process(self, level: float, seed: int) -> OpenLoop:
        """The arrivals of one level. One seed gives all levels the same pattern, stretched."""
        return OpenLoop(self._gaps(level, seed))

    def _gaps(self, rate_rps: float, seed: int) -> Iterator[float]:
        random = np.random.default_rng(seed)
        while True:
            yield float(random.gamma(self.burstiness)) / (self.burstiness * rate_rps)
