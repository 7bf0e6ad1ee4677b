"""Cityblock distance: Σ |x − y|."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsys.distance.language import jit, tl
from mlsys.distance.metrics import Array, Distances, Metric, Tensor


@jit
def l1_terms(x, y):  # type: ignore[no-untyped-def]
    """The absolute difference; widened after the subtraction, whose rounding does not add up."""
    return (tl.abs(x - y).to(tl.float64),)


@jit
def l1_finish(a, b, c):  # type: ignore[no-untyped-def]
    """The sum is the distance."""
    return a


@jit
def l1_slope(x, y, value, a, b, c):  # type: ignore[no-untyped-def]
    """The sign of the difference; 0 where both are equal."""
    sign = tl.where(x > y, 1.0, tl.where(x < y, -1.0, x - y))
    return sign, -sign


@dataclass(frozen=True)
class L1(Metric):
    """Cityblock distance; of vectors of length 0: 0."""

    name: str = "l1"
    sums = 1
    terms = l1_terms
    finish = l1_finish
    definition = "sum(abs(x - y))"
    search = "l1"
    slope = l1_slope

    def rows(self, x: Array, y: Array, scratch: Array, out: Array) -> None:
        """Σ |x − y| of each row; by NumPy, because BLAS' `asum` depends on where in memory a row begins."""
        np.subtract(x, y, out=scratch)
        np.sum(np.abs(scratch, out=scratch), axis=1, out=out[0])

    @staticmethod
    def element(x: Any, y: Any) -> tuple[Any]:
        """The absolute difference, widened after the subtraction as on a GPU."""
        return (np.float64(abs(x - y)),)

    def distance(self, sums: Sequence[float]) -> float:
        """The sum is the distance."""
        return float(sums[0])

    def distances(self, sums: Array) -> Array:
        """The sums are the distances."""
        first: Array = sums[0]
        return first

    def gradient(self, weight: Tensor, x: Tensor, y: Tensor, distances: Distances) -> tuple[Tensor, Tensor]:
        """The sign of the difference; 0 where both are equal."""
        slope = weight * (x - y).sign()
        return slope, -slope
