"""`loadtest=ramp`: independent users, more and more of them (or fewer), in one level."""

from __future__ import annotations

from mlsys.loadtest.arrivals import Listed, OpenLoop
from mlsys.loadtest.arrivals.varying import Stretch, mean_rate_rps, times
from mlsys.loadtest.options import positive


class Ramp(Listed):
    """`start_rate` to `end_rate` requests/s within `ramp_s`; then it ends, and everything that came is measured."""

    default_requests = None

    def __init__(self, name: str, start_rate: float, end_rate: float, ramp_s: float) -> None:
        self.name = name
        (start,) = positive("loadtest.start_rate", start_rate, whole=False)
        (end,) = positive("loadtest.end_rate", end_rate, whole=False)
        (ramp,) = positive("loadtest.ramp_s", ramp_s, whole=False)
        self._course = [Stretch(ramp, start, end)]
        self.levels = [mean_rate_rps(self._course)]

    def describe(self, level: float) -> dict[str, float]:
        """The mean `offered_rate_rps`, and from where to where it goes."""
        (ramp,) = self._course
        return {"offered_rate_rps": level, "start_rate_rps": ramp.from_rps, "end_rate_rps": ramp.to_rps}

    def warmup(self, level: float, measured: int | None) -> int:
        """None: it would cut off the beginning."""
        return 0

    def process(self, level: float, seed: int) -> OpenLoop:
        """The arrivals."""
        return OpenLoop.at(times(self._course, seed))
