"""How many independent requests a level's requests are worth, and an interval for a mean.

The variance of a mean is σ²·τ/n, τ = 1 + 2Σρ_k. The sum ends where pairs of neighbouring ρ_k are no longer
positive, and falls steadily until there (Geyer, Practical Markov chain Monte Carlo, Statistical Science 7, 1992).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Values = Sequence[float] | Floats
CONFIDENCE = 0.95
FEWEST = 4  # values, or there is nothing to tell


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`."""

    low: float
    high: float


def correlation_time(values: Values) -> float:
    """τ: so many values in a row are worth one, at least 1."""
    series = np.asarray(values, dtype=np.float64)
    series = series - series.mean()
    count = len(series)
    if count < FEWEST or not series.any():
        return 1.0
    spectrum = np.fft.rfft(series, 2 * count)
    shares = np.fft.irfft(spectrum * spectrum.conj())[:count]
    shares /= shares[0]
    pairs = shares[: count // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    pairs = np.minimum.accumulate(pairs[: ends[0] if len(ends) else len(pairs)])
    return float(max(1.0, 2 * pairs.sum() - 1))


def effective_size(repeats: Sequence[Values]) -> float:
    """How many independent values all repeats are worth; each repeat in the order of time."""
    return float(sum(len(values) / correlation_time(values) for values in repeats if len(values)))


def mean_interval(repeats: Sequence[Values], confidence: float = CONFIDENCE) -> Interval | None:
    """In which the mean lies; None where there are too few values to tell."""
    size = effective_size(repeats)
    values = (
        np.concatenate([np.asarray(one, dtype=np.float64) for one in repeats]) if repeats else np.empty(0)
    )
    if len(values) < FEWEST or size < 2:
        return None
    half = float(stdtrit(size - 1, (1 + confidence) / 2)) * float(values.std(ddof=1)) / math.sqrt(size)
    return Interval(float(values.mean() - half), float(values.mean() + half))
