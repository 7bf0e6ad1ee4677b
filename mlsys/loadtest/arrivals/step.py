"""`loadtest=step`: independent users at one rate, then at the next, in one level: a rush and what it leaves behind."""

from __future__ import annotations

from mlsys.errors import UserError
from mlsys.loadtest.arrivals import Listed, OpenLoop
from mlsys.loadtest.arrivals.varying import Stretch, mean_rate_rps, times
from mlsys.loadtest.options import is_number, positive


class Step(Listed):
    """Each of `rates` (requests/s; 0 is silence) for `step_s`; then it ends, and everything that came is measured."""

    default_requests = None

    def __init__(self, name: str, rates: list[float], step_s: float) -> None:
        self.name = name
        if not any(rates) or any(not is_number(rate) or rate < 0 for rate in rates):
            shown = ",".join(f"{rate:g}" for rate in rates)
            raise UserError(f"loadtest.rates=[{shown}] must be at least 0, and one of them more")
        (step,) = positive("loadtest.step_s", step_s, whole=False)
        self._course = [Stretch(step, rate, rate) for rate in rates]
        self.levels = [mean_rate_rps(self._course)]

    def describe(self, level: float) -> dict[str, float]:
        """The mean `offered_rate_rps`, and each step's rate."""
        steps = {f"step.{i}.offered_rate_rps": step.from_rps for i, step in enumerate(self._course)}
        return {"offered_rate_rps": level, "step_s": self._course[0].duration_s, **steps}

    def warmup(self, level: float, measured: int | None) -> int:
        """None: it would cut off the beginning."""
        return 0

    def process(self, level: float, seed: int) -> OpenLoop:
        """The arrivals."""
        return OpenLoop.at(times(self._course, seed))
