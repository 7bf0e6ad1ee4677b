"""`loadtest=slo_search`: the highest Poisson rate at which enough requests are answered within `slo_ms`."""

from __future__ import annotations

from mlsys.errors import UserError
from mlsys.loadtest.arrivals import Done
from mlsys.loadtest.arrivals.poisson import Poisson
from mlsys.loadtest.options import is_number, positive
from mlsys.record import Scalar


class SloSearch(Poisson):
    """Doubles or halves `request_rate` until one rate meets the SLO and another does not, then bisects.

    A level meets it with a `goodput` of at least `share` (0.95: p95 within `slo_ms`, failures are misses).
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
    ) -> None:
        super().__init__(name, request_rate)
        if not (is_number(share) and 0 < share <= 1):
            raise UserError(f"loadtest.share={share} must be more than 0 and at most 1")
        self.share = share
        self.tolerance = positive("loadtest.tolerance", tolerance, whole=False)[0]
        self.max_levels = int(positive("loadtest.max_levels", max_levels, whole=True)[0])
        self.max_total_s = positive("loadtest.max_total_s", max_total_s, whole=False)[0]

    def next_level(self, done: Done) -> float | None:
        """The next rate to try; None when the answer is close enough or cannot be had."""
        following = self._following(done)
        return following if isinstance(following, float) else None

    def conclusion(self, done: Done) -> dict[str, Scalar]:
        """`slo.max_rate_rps`: the highest rate that met it; `slo.missed_rate_rps`: the lowest that missed.

        `slo.ended`: why no other rate was tried; None where one was still to come.
        """
        meets, misses = self._bounds(done)
        following = self._following(done)
        ended = following if isinstance(following, str) else None
        return {"slo.max_rate_rps": meets, "slo.missed_rate_rps": misses, "slo.ended": ended}

    def _following(self, done: Done) -> float | str:
        """The next rate, or why there is none."""
        if not done:
            return self.levels[0]
        if not done[-1][1]["valid"]:
            return "the client was the limit"
        meets, misses = self._bounds(done)
        if meets is not None and misses is not None and misses <= meets * (1 + self.tolerance):
            return f"within loadtest.tolerance={self.tolerance:g}"
        if len(done) >= self.max_levels:
            return f"loadtest.max_levels={self.max_levels}"
        if misses is None:
            return 2 * max(rate for rate, _ in done)
        return (meets + misses) / 2 if meets is not None else min(rate for rate, _ in done) / 2

    def _bounds(self, done: Done) -> tuple[float | None, float | None]:
        """A rate above one that was missed counts as missed, though by luck it might have been met."""
        missed = [rate for rate, values in done if not values["valid"] or values["goodput"] < self.share]
        misses = min(missed, default=None)
        met = [rate for rate, _ in done if rate not in missed and (misses is None or rate < misses)]
        return max(met, default=None), misses
