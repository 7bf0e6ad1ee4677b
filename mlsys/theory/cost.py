"""What a batch costs: α·b + τ0, the shape of batched decoding, and how it is found in what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlsys.theory.law import Floats

Values = Sequence[float] | Floats


@dataclass(frozen=True)
class Cost:
    """`per_request_ms`·b + `base_ms` (α and τ0) for a batch of b."""

    per_request_ms: float
    base_ms: float

    def __post_init__(self) -> None:
        if not (self.per_request_ms >= 0 and self.base_ms >= 0 and math.isfinite(self(1))):
            raise ValueError(f"costs must be 0 or more: {self.per_request_ms}, {self.base_ms}")

    def __call__(self, size: float) -> float:
        """What a batch of `size` takes, in ms."""
        return self.per_request_ms * size + self.base_ms

    def longer(self, by_ms: float) -> Cost:
        """The same with so much more for each batch."""
        return Cost(self.per_request_ms, self.base_ms + by_ms)


@dataclass(frozen=True)
class Fit:
    """A cost and how far the measured batches lie from it: the root of the mean square, and the worst, as shares."""

    cost: Cost
    residual: float
    worst: float


def fit(sizes: Values, times_ms: Values, weights: Values | None = None) -> Fit:
    """The cost that comes nearest to batches of these sizes and times, by least squares: right on average.

    Neither part is below 0. Of batches of one size only, all of the cost is `base_ms`. Raises ValueError without any.
    """
    size, time = np.asarray(sizes, dtype=np.float64), np.asarray(times_ms, dtype=np.float64)
    if not len(size) or (time <= 0).any():
        raise ValueError("a cost is found in batches that took some time")
    weight = np.sqrt(np.ones_like(size) if weights is None else np.asarray(weights, dtype=np.float64))
    found = _solved(size, time, weight)
    off = np.array([found(one) for one in size]) / time - 1
    return Fit(found, float(np.sqrt(np.mean(off**2))), float(np.abs(off).max()))


def _solved(size: Floats, time: Floats, weight: Floats) -> Cost:
    if np.ptp(size) == 0:
        return Cost(0.0, float(np.average(time, weights=weight**2)))
    columns = np.stack([size, np.ones_like(size)], axis=1) * weight[:, None]
    slope, base = np.linalg.lstsq(columns, time * weight, rcond=None)[0]
    if base < 0:
        return Cost(float(np.average(time / size, weights=(weight * size) ** 2)), 0.0)
    if slope < 0:
        return Cost(0.0, float(np.average(time, weights=weight**2)))
    return Cost(float(slope), float(base))
