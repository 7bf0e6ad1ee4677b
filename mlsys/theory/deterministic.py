"""M/D/c: independent users, a service time that is always the same, `c` workers and one line, first in, first out.

The mean of one worker is Pollaczek's and Khinchine's, s + ρs/(2(1−ρ)). The distribution of the wait is Franx's (A
simple solution for the M/D/c waiting time distribution, Operations Research Letters 29, 2001): a sum of positive
terms, which is why it is taken and not Erlang's, whose terms alternate and cancel.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.linalg import solve

from mlsys.theory.law import Floats, Law, poisson, stable

NEGLIGIBLE = 1e-13  # of probability, beyond the last state of a chain
LARGEST = 4000  # states


class Deterministic(Law):
    """`rate_rps` arrivals a second, each served in `service_ms` by one of `workers`. Raises Unstable."""

    def __init__(self, rate_rps: float, service_ms: float, workers: int = 1) -> None:
        self.rate, self.service_ms, self.workers = rate_rps / 1e3, service_ms, workers
        self.utilisation = stable(self.rate * service_ms / workers)

    @cached_property
    def states(self) -> Floats:
        """P(n in the system), n = 0, 1, …: who is there after one service time is who waited and who has come since."""
        load, size = self.rate * self.service_ms, 2 * self.workers + 40
        while True:
            chain = self._chain(load, size)
            equations = chain.T - np.eye(size)
            equations[-1] = 1.0
            found: Floats = np.clip(solve(equations, np.eye(size)[-1]), 0.0, None)
            if found[-size // 10 :].sum() < NEGLIGIBLE or size >= LARGEST:
                total: float = found.sum()
                return np.divide(found, total)
            size *= 2

    def _chain(self, load: float, size: int) -> Floats:
        come = poisson(np.arange(size), load)
        chain = np.zeros((size, size))
        for n in range(size):
            left = max(0, n - self.workers)
            chain[n, left:] = come[: size - left]
            chain[n, -1] += max(0.0, 1 - chain[n].sum())
        return chain

    @property
    def mean_ms(self) -> float:
        """The mean latency; one worker by the closed form, more by Little's law from the chain."""
        if self.workers == 1:
            return self.service_ms * (1 + self.utilisation / (2 * (1 - self.utilisation)))
        return float(np.arange(len(self.states)) @ self.states) / self.rate

    def wait_cdf(self, at_ms: float) -> float:
        """The share of requests that wait no longer than `at_ms` for a worker."""
        if at_ms < 0:
            return 0.0
        turns = math.floor(at_ms / self.service_ms) + 1
        ahead = self.rate * (turns * self.service_ms - at_ms)
        most = turns * self.workers
        at_most = np.cumsum(self.states)[np.minimum(self.workers + np.arange(most), len(self.states) - 1)]
        return float(poisson(np.arange(most), ahead) @ at_most[::-1])

    def cdf(self, at_ms: float) -> float:
        """The share of requests answered within `at_ms`."""
        return self.wait_cdf(at_ms - self.service_ms)
