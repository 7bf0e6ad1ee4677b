"""The distribution of a latency: what every form gives, and how a percentile is found from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaln, xlogy

Floats = NDArray[np.float64]
CLOSE = 1e-9  # how near, of its value, a percentile is found
STEPS = 200  # doublings: no latency is longer


class Unstable(ValueError):
    """More is asked than can be served: there is no steady state, and so nothing to predict."""

    def __init__(self, utilisation: float) -> None:
        super().__init__(f"the load is {utilisation:.3g} of what can be served: there is no steady state")
        self.utilisation = utilisation


def stable(utilisation: float) -> float:
    """The utilisation, if it is below 1. Raises Unstable."""
    if not 0 <= utilisation < 1:
        raise Unstable(utilisation)
    return utilisation


def poisson(counts: ArrayLike, mean: ArrayLike) -> Floats:
    """How likely each of `counts` is of a Poisson variable. As scipy.stats, whose import takes half a second."""
    counts, mean = np.asarray(counts), np.asarray(mean)
    known = np.maximum(counts, 0)
    return np.where(counts < 0, 0.0, np.exp(xlogy(known, mean) - gammaln(known + 1) - mean))


class Law(ABC):
    """A latency's distribution in the steady state."""

    @property
    @abstractmethod
    def mean_ms(self) -> float:
        """The mean, in ms."""

    @abstractmethod
    def cdf(self, at_ms: float) -> float:
        """The share of requests that take no longer than `at_ms`."""

    def quantile_ms(self, share: float) -> float:
        """The time within which `share` (between 0 and 1) of the requests are answered."""
        if not 0 < share < 1:
            raise ValueError(f"share={share} must lie between 0 and 1")
        return quantile(self.cdf, share, self.mean_ms)


def quantile(cdf: Callable[[float], float], share: float, scale: float) -> float:
    """The least time at which `cdf` reaches `share`. `scale`: a time of about that size, more than 0."""
    high = scale
    for _ in range(STEPS):
        if cdf(high) >= share:
            break
        high *= 2
    low = 0.0
    if cdf(low) >= share:
        return low
    found = brentq(lambda at: cdf(at) - share, low, high, xtol=CLOSE * scale, rtol=CLOSE)
    return float(found)
