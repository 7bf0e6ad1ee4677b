"""Independent users whose rate changes with time: what `ramp` and `step` are made of. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlsys.loadtest.arrivals.poisson import exponential


@dataclass(frozen=True)
class Stretch:
    """A time in which the rate (requests/s) goes evenly from one value to another."""

    duration_s: float
    from_rps: float
    to_rps: float

    @property
    def requests(self) -> float:
        """How many come in it on average."""
        return self.duration_s * (self.from_rps + self.to_rps) / 2

    def after_s(self, requests: float) -> float:
        """The time in which so many come on average."""
        slope = (self.to_rps - self.from_rps) / self.duration_s
        root = math.sqrt(max(self.from_rps**2 + 2 * slope * requests, 0.0))
        return 2 * requests / (self.from_rps + root) if requests else 0.0


def times(course: Sequence[Stretch], seed: int) -> Iterator[float]:
    """When requests come, in s, until the course ends.

    A Poisson process of rate 1 whose clock is the number of requests that were due on average (Çinlar, Introduction to
    Stochastic Processes, 1975, 4.7).
    """
    gaps, began_s = exponential(1.0, seed), 0.0
    count = next(gaps)
    for stretch in course:
        while count < stretch.requests:
            yield began_s + stretch.after_s(count)
            count += next(gaps)
        count -= stretch.requests
        began_s += stretch.duration_s


def mean_rate_rps(course: Sequence[Stretch]) -> float:
    """Requests a second over the whole course."""
    return sum(one.requests for one in course) / sum(one.duration_s for one in course)
