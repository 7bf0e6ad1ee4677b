"""`loadtest=slo_search`: the highest Poisson rate at which enough requests are answered within `slo_ms`."""

from __future__ import annotations

from mlsys.errors import UserError
from mlsys.loadtest.arrivals import Done
from mlsys.loadtest.arrivals.poisson import Poisson
from mlsys.loadtest.options import is_number, positive


class SloSearch(Poisson):
    """Doubles or halves `request_rate` until one rate meets the SLO and another does not, then bisects.

    A level meets it with a `goodput` of at least `share` (0.95: p95 within `slo_ms`, failures are misses).
    Ends when both rates are within `tolerance`, after `max_levels`, or where the client itself was the limit.
    """

    needs_slo = True

    def __init__(
        self,
        name: str = "slo_search",
        request_rate: float = 1.0,
        share: float = 0.95,
        tolerance: float = 0.1,
        max_levels: int = 12,
    ) -> None:
        super().__init__(name, request_rate)
        if not (is_number(share) and 0 < share <= 1):
            raise UserError(f"loadtest.share={share} must be more than 0 and at most 1")
        self.share = share
        self.tolerance = positive("loadtest.tolerance", tolerance, whole=False)[0]
        self.max_levels = int(positive("loadtest.max_levels", max_levels, whole=True)[0])

    def next_level(self, done: Done) -> float | None:
        """The next rate to try; None when the answer is close enough or cannot be had."""
        if not done:
            return self.levels[0]
        if len(done) >= self.max_levels or not done[-1][1]["valid"]:
            return None
        meets, misses = self._bounds(done)
        if misses is None:
            return 2 * max(rate for rate, _ in done)
        if meets is None:
            return min(rate for rate, _ in done) / 2
        return None if misses <= meets * (1 + self.tolerance) else (meets + misses) / 2

    def conclusion(self, done: Done) -> dict[str, float | None]:
        """`slo.max_rate_rps`: the highest rate that met it; `slo.missed_rate_rps`: the lowest that missed."""
        meets, misses = self._bounds(done)
        return {"slo.max_rate_rps": meets, "slo.missed_rate_rps": misses}

    def _bounds(self, done: Done) -> tuple[float | None, float | None]:
        """A rate above one that was missed counts as missed, though by luck it might have been met."""
        missed = [rate for rate, values in done if not values["valid"] or values["goodput"] < self.share]
        misses = min(missed, default=None)
        met = [rate for rate, _ in done if rate not in missed and (misses is None or rate < misses)]
        return max(met, default=None), misses
