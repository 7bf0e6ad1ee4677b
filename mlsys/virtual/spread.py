"""How much an engine's batches of one size differ in time: a real one does not take the same time twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlsys.record import Scalar

KNOWN = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
STEPS = 41
ONE_SIZE = 1.02  # the largest batch as a multiple of the mean


def spread(levels: Sequence[Mapping[str, Scalar]]) -> list[float] | None:
    """Multiples of the mean at equal steps of probability, 1 on average; None where no level tells.

    Told by levels whose batches all had one size. Below the median a level tells nothing, so the lower half is as wide
    as makes the mean come out.
    """
    found = []
    for level in levels:
        mean, sizes = (
            level.get("stage_ms.generate.mean"),
            (level.get("batch_size.mean"), level.get("batch_size.max")),
        )
        if not isinstance(mean, float) or not _alike(*sizes):
            continue
        marks = {
            share: value / mean for part, share in KNOWN.items() if (value := _value(level, part)) is not None
        }
        if len(marks) >= 3:
            found.append(_quantiles(marks))
    return None if not found else [float(one) for one in np.median(found, axis=0)]


def _quantiles(marks: Mapping[float, float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    shares = (np.arange(STEPS) + 0.5) / STEPS
    middle = marks[0.5]
    upper = np.interp(shares, list(marks), list(marks.values()))
    above = upper[shares >= 0.5].sum()
    below = shares < 0.5
    width = 2 * max(0.0, middle - (STEPS - above) / below.sum())  # straight from the median down
    lower = middle - width * (0.5 - shares) / 0.5
    found = np.where(below, np.maximum(lower, 0.0), upper)
    return np.asarray(found / found.mean())


def _alike(mean: Scalar, largest: Scalar) -> bool:
    return isinstance(mean, (int, float)) and isinstance(largest, (int, float)) and largest <= ONE_SIZE * mean


def _value(level: Mapping[str, Scalar], part: str) -> float | None:
    value = level.get(f"stage_ms.generate.{part}")
    return float(value) if isinstance(value, (int, float)) else None
