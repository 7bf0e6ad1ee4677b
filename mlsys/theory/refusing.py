"""A line with a door: who could not be answered within the limit is refused as it comes, which is `batching=slo`.

M/D/1 with a wait of at most K, for service times that are known beforehand. Below K nothing of the door is felt: the
level crossings of the work are those of the line without one, so waits have its distribution cut at K. What goes in
must come out, which gives the share that is let in, W / (1 − ρ + ρW), W the share that waits no longer than K without a
door (Gavish and Schweitzer, The Markovian queue with bounded waiting time, Management Science 23, 1977).
"""

from __future__ import annotations

from functools import cached_property

from mlsys.theory.deterministic import Deterministic
from mlsys.theory.law import Law


class Refusing(Law):
    """`rate_rps` arrivals, each served in `service_ms`, if it can be answered within `limit_ms`. Raises Unstable.

    The latency is that of who is let in. Raises ValueError where the limit leaves no time for a service.
    """

    def __init__(self, rate_rps: float, service_ms: float, limit_ms: float) -> None:
        if limit_ms < service_ms:
            raise ValueError(f"a limit of {limit_ms:g} ms is shorter than a service of {service_ms:g} ms")
        self._line, self.most_ms = Deterministic(rate_rps, service_ms), limit_ms - service_ms

    @cached_property
    def _patient(self) -> float:
        """W: the share that would wait no longer than K without a door."""
        return self._line.wait_cdf(self.most_ms)

    @property
    def admitted(self) -> float:
        """The share of requests that are let in, all of which are answered within the limit."""
        rho = self._line.utilisation
        return self._patient / (1 - rho + rho * self._patient)

    def cdf(self, at_ms: float) -> float:
        """The share of those let in that are answered within `at_ms`."""
        return min(1.0, self._line.wait_cdf(at_ms - self._line.service_ms) / self._patient)

    @cached_property
    def mean_ms(self) -> float:
        """The mean latency of those let in."""
        from scipy.integrate import quad  # slow to import, and few need it

        turns = int(self.most_ms / self._line.service_ms)
        kinks = [self._line.service_ms * turn for turn in range(1, turns + 1)]
        waited, _ = quad(
            lambda at: 1 - self._line.wait_cdf(at) / self._patient,
            0,
            self.most_ms,
            points=kinks or None,
            limit=50 + 2 * turns,
        )
        return float(self._line.service_ms + waited)
