"""`balancer=peak_ewma`: the replica with the least latency times requests in flight.

Counts in flight say who is slow only once the slow one holds its share. Here each replica has an average of how long
its answers took. A later answer than that sets it at once (the peak), earlier ones bring it down over `decay_s`: a
replica that has become slow is left alone after its first late answer, and comes back by and by (Finagle's and
linkerd's balancer of that name). There the average sinks towards zero while nothing is heard; here towards the best
replica's, since a slow one that is asked nothing is not the fastest for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mlsys.serving.balancer import C
from mlsys.serving.balancer.standing import Known, Turns, in_flight
from mlsys.serving.options import above


class PeakEwma:
    """`decay_s`: the time constant of the average."""

    def __init__(self, name: str, decay_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        above("balancer.decay_s", decay_s, 0)
        self.name, self._decay_s, self._clock = name, decay_s, clock
        self._rows: dict[str, int] = {}
        self._latency_s, self._heard_at = np.full(8, np.nan), np.zeros(8)
        self._known, self._turns = Known(self._row), Turns()

    def choose(self, candidates: Sequence[C]) -> C:
        """The least cost, ties in turn. Who has answered nothing yet is taken to be as fast as the best."""
        rows = self._known.of(candidates)
        cost = self._expected_s(rows) * (in_flight(candidates) + 1)
        equal = np.flatnonzero(cost == cost.min())
        return self._turns.take(candidates, int(equal[self._turns.of(candidates)[equal].argmin()]))

    def answered(self, name: str, seconds: float) -> None:
        """This replica's answer took so long."""
        row, now = self._row(name), self._clock()
        before_s, weight = self._latency_s[row], np.exp((self._heard_at[row] - now) / self._decay_s)
        is_peak = not before_s > seconds  # the first one, too
        self._latency_s[row] = seconds if is_peak else seconds + weight * (before_s - seconds)
        self._heard_at[row] = now

    def _expected_s(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """How long an answer of each takes, by what is known and how old that is."""
        latency_s = self._latency_s[rows]
        heard = ~np.isnan(latency_s)
        if not heard.any():
            return np.ones(len(rows))
        best_s = latency_s[heard].min()
        weight = np.exp((self._heard_at[rows] - self._clock()) / self._decay_s)
        expected_s: NDArray[np.float64] = np.where(heard, best_s + weight * (latency_s - best_s), best_s)
        return expected_s

    def _row(self, name: str) -> int:
        """Where in the arrays this replica is."""
        if (row := self._rows.setdefault(name, len(self._rows))) == len(self._latency_s):
            self._latency_s = np.append(self._latency_s, np.full(row, np.nan))
            self._heard_at = np.append(self._heard_at, np.zeros(row))
        return row
