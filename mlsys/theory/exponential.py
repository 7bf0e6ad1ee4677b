"""M/M/c: independent users, exponential service times, `c` workers and one line (Erlang, 1917)."""

from __future__ import annotations

import math

from mlsys.theory.law import Law, stable


def erlang_c(load: float, workers: int) -> float:
    """The share of requests that must wait. `load`: arrivals times the mean service time. Raises Unstable."""
    utilisation = stable(load / workers)
    blocked = 1.0  # Erlang's B, worker by worker
    for n in range(1, workers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - utilisation * (1 - blocked))


class Exponential(Law):
    """`rate_rps` arrivals a second, `service_ms` on average. Raises Unstable."""

    def __init__(self, rate_rps: float, service_ms: float, workers: int = 1) -> None:
        self.rate, self.service_ms, self.workers = rate_rps / 1e3, service_ms, workers
        load = self.rate * service_ms
        self.utilisation = stable(load / workers)
        self.waiting = erlang_c(load, workers)
        self._drain = workers / service_ms - self.rate  # how fast waits die out, 1/ms

    @property
    def mean_ms(self) -> float:
        """The mean latency."""
        return self.service_ms + self.waiting / self._drain

    def wait_cdf(self, at_ms: float) -> float:
        """The share of requests that wait no longer than `at_ms` for a worker."""
        return 1 - self.waiting * math.exp(-self._drain * at_ms) if at_ms >= 0 else 0.0

    def cdf(self, at_ms: float) -> float:
        """The share of requests answered within `at_ms`: a wait and then a service, which are independent."""
        if at_ms <= 0:
            return 0.0
        serve, drain = 1 / self.service_ms, self._drain
        served = math.exp(-serve * at_ms)
        if math.isclose(serve, drain, rel_tol=1e-9):
            both = serve * at_ms * served
        else:
            both = serve * (math.exp(-drain * at_ms) - served) / (serve - drain)
        return 1 - served - self.waiting * both
