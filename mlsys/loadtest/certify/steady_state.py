"""Where a level's steady state begins, and whether it has one.

MSER-5 (White, Cobb and Spratt, 2000): of all ways to leave out the first requests, in batches of five, the one that
leaves the rest with the smallest standard error; at most half of them. Whether the rest is steady is another
question. MSER's own sign, a cut in the second half, cries wolf where requests wait for each other: for one worker
at half of what it can do it does so for one level of 500 requests in four. So what is left is tried for a trend: a
slope that is beyond chance, given how much neighbours resemble each other, and that is worth speaking of. One
steady level in a hundred is called unsteady.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlsys.loadtest.certify.autocorrelation import Values, effective_size

BATCH = 5
FEWEST = 10  # batches, or nothing is said
BEYOND_CHANCE = 3.5  # standard errors of the slope
WORTH = 0.1  # of the mean, from the first to the last


@dataclass(frozen=True)
class SteadyState:
    """`cut`: how many of the first values are not of the steady state. `reached`: whether the rest shows no trend."""

    cut: int
    reached: bool


def find(values: Values) -> SteadyState | None:
    """The steady state of values in the order of time; None where there are fewer than 50 of them."""
    series = np.asarray(values, dtype=np.float64)
    count = len(series) // BATCH
    if count < FEWEST:
        return None
    cut = BATCH * _mser(series[: count * BATCH].reshape(count, BATCH).mean(axis=1))
    return SteadyState(cut, not has_trend(series[cut:]))


def _mser(means: Values) -> int:
    """The number of batches to leave out: the least Σ(x − x̄)² / m² over the m that are left, at least half."""
    backwards = np.asarray(means)[::-1]
    backwards = backwards - backwards.mean()
    left = np.arange(1, len(backwards) + 1)
    errors = ((np.cumsum(backwards**2) - np.cumsum(backwards) ** 2 / left) / left**2)[::-1]
    return int(np.argmin(errors[: len(errors) // 2 + 1]))


def has_trend(values: Values) -> bool:
    """Whether the values rise or fall by more than chance explains and by more than a tenth of their mean."""
    series = np.asarray(values, dtype=np.float64)
    times = np.arange(len(series)) - (len(series) - 1) / 2
    slope = float(times @ series / (times @ times))
    rest = series - series.mean() - slope * times
    error = float(rest.std()) / (float(times.std()) * math.sqrt(max(2.0, effective_size([rest]))))
    risen = abs(slope) * len(series)
    return abs(slope) > BEYOND_CHANCE * error and risen > WORTH * abs(float(series.mean()))


def all_reached(repeats: Sequence[Values]) -> bool | None:
    """Whether every repeat is in its steady state; None where none has enough values to tell."""
    found = [state.reached for values in repeats if (state := find(values)) is not None]
    return all(found) if found else None
