"""Squared euclidean distance: Σ (x − y)²."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsys.distance.language import jit, tl
from mlsys.distance.metrics import Array, Distances, Metric, Tensor, row_dots


@jit
def squared_difference(x, y):  # type: ignore[no-untyped-def]
    """(x − y)², squared in float64: exact, and beyond float32's range no overflow."""
    d = (x - y).to(tl.float64)
    return (d * d,)


@jit
def sqeuclidean_finish(a, b, c):  # type: ignore[no-untyped-def]
    """The sum is the distance."""
    return a


@jit
def sqeuclidean_slope(x, y, value, a, b, c):  # type: ignore[no-untyped-def]
    """Twice the difference."""
    slope = 2.0 * (x - y)
    return slope, -slope


@dataclass(frozen=True)
class Sqeuclidean(Metric):
    """Squared euclidean distance; of vectors of length 0: 0. Beyond the range of the result: inf or 0."""

    name: str = "sqeuclidean"
    sums = 1
    terms = squared_difference
    finish = sqeuclidean_finish
    definition = "sum((x - y) ** 2)"
    search = "sqeuclidean"
    slope = sqeuclidean_slope

    def rows(self, x: Array, y: Array, scratch: Array, out: Array) -> None:
        """Σ (x − y)² of each row."""
        np.subtract(x, y, out=scratch)
        row_dots(scratch, scratch, out[0])

    @staticmethod
    def element(x: Any, y: Any) -> tuple[Any]:
        """The difference, squared in float64."""
        d = np.float64(x - y)
        return (d * d,)

    def distance(self, sums: Sequence[float]) -> float:
        """The sum is the distance."""
        return float(sums[0])

    def distances(self, sums: Array) -> Array:
        """The sums are the distances."""
        first: Array = sums[0]
        return first

    def gradient(self, weight: Tensor, x: Tensor, y: Tensor, distances: Distances) -> tuple[Tensor, Tensor]:
        """Twice the difference."""
        slope = 2 * weight * (x - y)
        return slope, -slope
