"""The highest rate that meets an objective, with an interval, from levels that each met it in part.

The share of requests that meet it does not rise with the rate. So the levels' shares are fitted by a falling curve
(pool adjacent violators; Barlow et al., 1972) and the capacity is where the curve crosses the wanted share. The
interval is that of many curves, each through shares drawn from what the counts leave open (a Beta posterior with
Jeffreys' prior).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import betaincinv

from mlsys.loadtest.certify.autocorrelation import CONFIDENCE, Floats, Interval

DRAWS = 1000


@dataclass(frozen=True)
class Tried:
    """A rate, the share of requests that met the objective there, and how many independent requests say so."""

    rate_rps: float
    share: float
    size: float


@dataclass(frozen=True)
class Capacity:
    """The rate, and between which rates it lies. None: beyond what was tried, below (`low`) or above (`high`)."""

    rate_rps: float | None
    low_rps: float | None
    high_rps: float | None


def share_interval(share: float, size: float, confidence: float = CONFIDENCE) -> Interval:
    """In which the true share lies (Jeffreys' interval; to the end where all or none met it)."""
    met, missed = share * size, (1 - share) * size
    low, high = (float(betaincinv(met + 0.5, missed + 0.5, (1 + side * confidence) / 2)) for side in (-1, 1))
    return Interval(low if met else 0.0, high if missed else 1.0)


def pooled(levels: Sequence[Tried]) -> list[Tried]:
    """One for each rate, the lowest first: levels of one rate count together."""
    found = []
    for rate in sorted({level.rate_rps for level in levels}):
        same = [level for level in levels if level.rate_rps == rate]
        size = sum(level.size for level in same)
        found.append(Tried(rate, sum(level.share * level.size for level in same) / size, size))
    return found


def capacity(levels: Sequence[Tried], share: float, seed: int, confidence: float = CONFIDENCE) -> Capacity:
    """Where `share` of the requests still meet the objective. Each level's size is above 0."""
    found = pooled(levels)
    if not found:
        return Capacity(None, None, None)
    rates = np.array([level.rate_rps for level in found])
    sizes = np.array([level.size for level in found])
    met = np.array([level.share for level in found]) * sizes
    random = np.random.default_rng(seed)
    drawn = random.beta(met + 0.5, sizes - met + 0.5, (DRAWS, len(found)))
    crossings = np.sort([_crossing(rates, shares, sizes, share) for shares in drawn])
    low, high = np.quantile(
        crossings, [(1 - confidence) / 2, (1 + confidence) / 2], method="closest_observation"
    )
    return Capacity(*(_told(rate) for rate in (_crossing(rates, met / sizes, sizes, share), low, high)))


def _told(rate: float) -> float | None:
    return float(rate) if 0 < rate < np.inf else None


def _crossing(rates: Floats, shares: Floats, sizes: Floats, wanted: float) -> float:
    """Where the falling curve through the levels crosses; 0 where even the lowest misses, inf where all meet."""
    curve = isotonic_regression(shares, weights=sizes, increasing=False).x
    below = np.flatnonzero(curve < wanted)
    if not len(below):
        return float("inf")
    first = int(below[0])
    if first == 0:
        return 0.0
    step = (curve[first - 1] - wanted) / (curve[first - 1] - curve[first])
    return float(rates[first - 1] + step * (rates[first] - rates[first - 1]))
