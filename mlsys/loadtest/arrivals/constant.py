"""`loadtest=constant`: a request every 1/rate seconds, as from a clock."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any

from mlsys.loadtest.arrivals import Listed, OpenLoop, open_loop_warmup
from mlsys.loadtest.options import positive


class Constant(Listed):
    """`request_rate`: requests/s, a number or a list with one load level each."""

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
        """The arrivals of one level, the first at once; nothing in them is random."""
        return OpenLoop(chain([0.0], repeat(1 / level)))
