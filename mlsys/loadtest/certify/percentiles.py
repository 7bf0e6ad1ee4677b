"""Percentiles with the sample that supports them: an interval, and MLCommons' certified figure.

A percentile of a sample is a guess. What the sample proves is a bound: with a confidence of c, a share p of all
requests is at or below `sorted[n − t]`, where t = max{i : n ≥ h(i) + i} and h(t) is the least h with I_p(h, t+1) <
1 − c, I the regularised incomplete beta function (MLCommons inference rules, early stopping). Below t = 1 there is
no such figure: p99 at 0.99 takes 662 requests. The interval is that of order statistics, which holds for any
distribution.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from scipy.special import bdtr, betainc  # scipy.stats takes each process half a second to import

from mlsys.loadtest.certify.autocorrelation import CONFIDENCE, Floats, Interval, Values, effective_size

CERTAIN = 0.99
MOST = 1 << 40


@functools.cache
def needed(over: int, share: float, confidence: float = CERTAIN) -> int:
    """h(t): so many requests must be within a limit, where `over` are not, to prove that `share` of all are."""
    high = 1
    while betainc(high, over + 1, share) >= 1 - confidence:
        high *= 2
        if high > MOST:
            raise ValueError(f"no sample proves share={share} at confidence={confidence}")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if betainc(middle, over + 1, share) >= 1 - confidence else (low, middle)
    return high


def least(share: float, confidence: float = CERTAIN) -> int:
    """The fewest requests that prove anything of this percentile."""
    return needed(1, share, confidence) + 1


def discarded(count: int, share: float, confidence: float = CERTAIN) -> int:
    """t: how many of the slowest of `count` requests may be left out; 0 where the requests are too few."""
    low, high = 0, max(2, count)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count >= needed(middle, share, confidence) + middle else (low, middle)
    return low


def certified(values: Values, share: float, confidence: float = CERTAIN) -> float | None:
    """What `share` of all requests do not exceed, at this confidence; None: not enough requests to say."""
    dropped = discarded(len(values), share, confidence)
    return None if dropped < 1 else float(np.sort(values)[len(values) - dropped])


def certified_of(repeats: Sequence[Values], share: float, confidence: float = CERTAIN) -> float | None:
    """`certified` for requests that resemble their neighbours: only as many count as they are worth.

    Each repeat in the order of time.
    """
    values, size = _sorted_and_size(repeats, share)
    dropped = discarded(int(size), share, confidence)
    return None if dropped < 1 else float(values[len(values) - max(1, int(dropped * len(values) / size))])


def _sorted_and_size(repeats: Sequence[Values], share: float) -> tuple[Floats, float]:
    """All values in order, and how many independent ones they are worth where that percentile is."""
    values = np.sort(np.concatenate([np.asarray(one, dtype=np.float64) for one in repeats]))
    if not len(values):
        return values, 0.0
    middle = np.quantile(values, share)
    return values, effective_size([(np.asarray(one) <= middle).astype(np.float64) for one in repeats])


def interval(repeats: Sequence[Values], share: float, confidence: float = CONFIDENCE) -> Interval | None:
    """In which the percentile lies; None: not enough requests. Each repeat in the order of time.

    The ranks are those of a binomial count among so many independent requests as these are worth.
    """
    values, worth = _sorted_and_size(repeats, share)
    size = round(worth)
    if not size:
        return None
    below = _binomial_quantile((1 - confidence) / 2, size, share) - 1
    above = _binomial_quantile((1 + confidence) / 2, size, share)
    if below < 0 or above > size - 1:
        return None
    low, high = below / size * len(values), above / size * len(values)
    return Interval(float(values[int(low)]), float(values[min(int(np.ceil(high)), len(values) - 1)]))


def _binomial_quantile(probability: float, size: int, share: float) -> int:
    """The least count that so many trials do not exceed with this probability."""
    return bisect_left(range(size), probability, key=lambda count: float(bdtr(count, size, share)))
