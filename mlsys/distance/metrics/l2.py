"""Euclidean distance: √Σ (x − y)², right wherever the result is representable.

float32 and narrower: squares are summed in float64, which they cannot leave. float64: three sums, of the
differences as they are, scaled down and scaled up by a power of two, and the finish takes the one that kept
its range. This is Blue's method ("A portable Fortran program to find the Euclidean norm of a vector", 1978)
without its branches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsys.distance.language import jit, tl
from mlsys.distance.metrics import Array, Distances, Metric, Tensor, row_dots
from mlsys.distance.metrics.sqeuclidean import Sqeuclidean, squared_difference

DOWN, UP = 2.0**-600, 2.0**600
SMALLEST_SAFE = 2.0**-900  # above it, squares lost to underflow do not show in the sum


@jit
def l2_finish(a, b, c):  # type: ignore[no-untyped-def]
    """The root of the sum."""
    return tl.sqrt(a)


@jit
def l2_slope(x, y, value, a, b, c):  # type: ignore[no-untyped-def]
    """The difference as a unit vector; of equal vectors 0, the subgradient that torch takes."""
    inverse = tl.where(value == 0.0, 0.0, 1.0 / value)
    slope = (x - y) * inverse
    return slope, -slope


@jit
def l2_wide_terms(x, y):  # type: ignore[no-untyped-def]
    """Squares of the difference: plain, scaled by 2⁻⁶⁰⁰ and by 2⁶⁰⁰."""
    d = x - y
    down = d * 2.409919865102884e-181
    up = d * 4.149515568880993e180
    return (d * d, down * down, up * up)


@jit
def l2_wide_finish(a, b, c):  # type: ignore[no-untyped-def]
    """The root of the sum that neither overflowed nor lost its small terms."""
    plain = tl.sqrt(a)
    large = tl.sqrt(b) * 4.149515568880993e180
    small = tl.sqrt(c) * 2.409919865102884e-181
    return tl.where(a == float("inf"), large, tl.where(a < 1.1830521861667747e-271, small, plain))


@dataclass(frozen=True)
class L2(Metric):
    """Euclidean distance; of vectors of length 0: 0."""

    name: str = "l2"
    sums = 1
    terms = squared_difference
    finish = l2_finish
    definition = "sqrt(sum((x - y) ** 2))"
    search = "l2"
    slope = l2_slope
    slope_of_sums = True
    slope_of_value = True
    element = staticmethod(Sqeuclidean.element)

    def rows(self, x: Array, y: Array, scratch: Array, out: Array) -> None:
        """Σ (x − y)² of each row."""
        np.subtract(x, y, out=scratch)
        row_dots(scratch, scratch, out[0])

    def distance(self, sums: Sequence[float]) -> float:
        """The root of the sum."""
        return math.sqrt(sums[0])

    def distances(self, sums: Array) -> Array:
        """The roots of the sums."""
        roots: Array = np.sqrt(sums[0])
        return roots

    def gradient(self, weight: Tensor, x: Tensor, y: Tensor, distances: Distances) -> tuple[Tensor, Tensor]:
        """The difference as a unit vector; of equal vectors 0, the subgradient that torch takes."""
        value = distances(x, y, "l2")
        same = value == 0
        slope = (weight / value.masked_fill(same, 1)).masked_fill(same, 0) * (x - y)
        return slope, -slope

    def wide(self) -> Metric:
        """Three sums for float64 vectors."""
        return L2Wide()


@dataclass(frozen=True)
class L2Wide(Metric):
    """Euclidean distance of float64 vectors."""

    name: str = "l2"
    sums = 3
    terms = l2_wide_terms
    finish = l2_wide_finish
    definition = L2.definition
    slope = l2_slope
    slope_of_sums = True
    slope_of_value = True

    def rows(self, x: Array, y: Array, scratch: Array, out: Array) -> None:
        """Σ (x − y)² of each row; the scaled sums in full only where a row's plain one left its range."""
        np.subtract(x, y, out=scratch)
        row_dots(scratch, scratch, out[0])
        out[1] = out[0] * DOWN * DOWN
        out[2] = np.where(out[0] == 0.0, 0.0, np.inf)
        odd = ~((out[0] >= SMALLEST_SAFE) & (out[0] < np.inf))
        if odd.any() and scratch[odd].any():
            out[1, odd], out[2, odd] = (np.square(scratch[odd] * by).sum(axis=1) for by in (DOWN, UP))

    @staticmethod
    def element(x: Any, y: Any) -> tuple[Any, Any, Any]:
        """All three: multiplying takes no longer than the memory."""
        d = x - y
        down, up = d * DOWN, d * UP
        return (d * d, down * down, up * up)

    def distance(self, sums: Sequence[float]) -> float:
        """The root of the sum that neither overflowed nor lost its small terms."""
        plain, large, small = sums
        if plain == math.inf:
            return math.sqrt(large) * UP
        return math.sqrt(small) * DOWN if plain < SMALLEST_SAFE else math.sqrt(plain)

    def distances(self, sums: Array) -> Array:
        """The same for many."""
        plain, large, small = sums
        ranged = np.where(plain < SMALLEST_SAFE, np.sqrt(small) * DOWN, np.sqrt(plain))
        found: Array = np.where(plain == math.inf, np.sqrt(large) * UP, ranged)
        return found
