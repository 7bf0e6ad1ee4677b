"""`loadtest=slo_search`: the highest Poisson rate at which enough requests are answered within `slo_ms`."""

from __future__ import annotations

from mlsys.errors import UserError
from mlsys.loadtest.arrivals import Done, OpenLoop
from mlsys.loadtest.arrivals.poisson import Poisson, exponential
from mlsys.loadtest.certify.capacity import Tried, capacity, pooled, share_interval
from mlsys.loadtest.certify.knee import knee
from mlsys.loadtest.options import is_number, positive
from mlsys.record import Scalar

APART = 7919  # seeds between two levels


class SloSearch(Poisson):
    """Doubles or halves `request_rate` until one rate meets the SLO and another does not, then bisects.

    A level meets it with a `goodput` of at least `share` (0.95: p95 within `slo_ms`, failures are misses). One whose
    goodput may by chance lie on the other side of `share` is measured again, up to `confirm` times; levels of one rate
    count together. Each level has arrivals of its own: with one pattern all would err alike, which no interval knows.
    Ends when both rates are within `tolerance`, after `max_levels`, before a level that would not end within
    `max_total_s`, or where the client itself was the limit. It does not begin where a lone request misses the SLO.
    """

    needs_slo = True

    def __init__(
        self,
        name: str,
        request_rate: float,
        share: float,
        tolerance: float,
        max_levels: int,
        max_total_s: float,
        confirm: int,
    ) -> None:
        super().__init__(name, request_rate)
        if not (is_number(share) and 0 < share <= 1):
            raise UserError(f"loadtest.share={share} must be more than 0 and at most 1")
        self.share = share
        self.tolerance = positive("loadtest.tolerance", tolerance, whole=False)[0]
        self.max_levels = int(positive("loadtest.max_levels", max_levels, whole=True)[0])
        self.max_total_s = positive("loadtest.max_total_s", max_total_s, whole=False)[0]
        if confirm < 0:
            raise UserError(f"loadtest.confirm={confirm} must be a whole number of at least 0")
        self.confirm = confirm

    def next_level(self, done: Done) -> float | None:
        """The next rate to try; None when the answer is close enough or cannot be had."""
        self.tried = len(done)
        following = self._following(done)
        return following if isinstance(following, float) else None

    def process(self, level: float, seed: int) -> OpenLoop:
        """The arrivals of the level that `next_level` gave last."""
        return OpenLoop(exponential(level, seed + APART * self.tried))

    def conclusion(self, done: Done) -> dict[str, Scalar]:
        """`slo.max_rate_rps`: the highest rate that met it; `slo.missed_rate_rps`: the lowest that missed.

        `slo.ended`: why no other rate was tried; None where one was still to come. `slo.capacity_rps`, `_low_rps`,
        `_high_rps`: where a falling curve through all levels crosses `share`, with a 95 % interval (None: beyond what
        was tried). `slo.knee_rps`: the rate with the most throughput per latency. `slo.repeated`: levels tried again.
        """
        meets, misses = self._bounds(done)
        following = self._following(done)
        ended = following if isinstance(following, str) else None
        found = capacity(_tried(done), self.share, seed=0)
        return {
            "slo.max_rate_rps": meets,
            "slo.missed_rate_rps": misses,
            "slo.ended": ended,
            "slo.capacity_rps": found.rate_rps,
            "slo.capacity_low_rps": found.low_rps,
            "slo.capacity_high_rps": found.high_rps,
            "slo.knee_rps": knee(_points(done)),
            "slo.repeated": len(done) - len({rate for rate, _ in done}),
        }

    def _following(self, done: Done) -> float | str:
        """The next rate, or why there is none."""
        if not done:
            return self.levels[0]
        if not done[-1][1]["valid"]:
            return "the client was the limit"
        if len(done) < self.max_levels and self._doubtful(done):
            return done[-1][0]
        meets, misses = self._bounds(done)
        if meets is not None and misses is not None and misses <= meets * (1 + self.tolerance):
            return f"within loadtest.tolerance={self.tolerance:g}"
        if len(done) >= self.max_levels:
            return f"loadtest.max_levels={self.max_levels}"
        if misses is None:
            return 2 * max(rate for rate, _ in done)
        return (meets + misses) / 2 if meets is not None else min(rate for rate, _ in done) / 2

    def _doubtful(self, done: Done) -> bool:
        """Whether chance may have decided on which side of `share` the last rate is, and it may be tried again."""
        last = done[-1][0]
        if sum(rate == last for rate, _ in done) > self.confirm:
            return False
        tried = next((one for one in pooled(_tried(done)) if one.rate_rps == last), None)
        if tried is None:
            return False
        between = share_interval(tried.share, tried.size)
        return between.low < self.share < between.high

    def _bounds(self, done: Done) -> tuple[float | None, float | None]:
        """A rate above one that was missed counts as missed, though by luck it might have been met."""
        shares: dict[float, list[float]] = {}
        for rate, values in done:
            shares.setdefault(rate, []).append(float(values["goodput"]) if values["valid"] else 0.0)
        missed = [rate for rate, found in shares.items() if sum(found) / len(found) < self.share]
        misses = min(missed, default=None)
        met = [rate for rate in shares if rate not in missed and (misses is None or rate < misses)]
        return max(met, default=None), misses


def _tried(done: Done) -> list[Tried]:
    """The levels that say something of the service, each with the number of independent requests that say it."""
    found = []
    for rate, values in done:
        size = values.get("goodput.effective_requests", values.get("requests"))
        if values["valid"] and size:
            found.append(Tried(rate, float(values["goodput"]), float(size)))
    return found


def _points(done: Done) -> list[tuple[float, float, float]]:
    figures = [(rate, values.get("throughput_rps"), values.get("e2e_ms.mean")) for rate, values in done]
    return [(rate, reached, latency) for rate, reached, latency in figures if reached and latency]
