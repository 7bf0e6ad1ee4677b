"""Inner product: Σ x·y, the sum itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsys.distance.language import jit, tl
from mlsys.distance.metrics import Array, Distances, Metric, Tensor, row_dots


@jit
def dot_terms(x, y):  # type: ignore[no-untyped-def]
    """Product of the elements; both widened first, so that it is exact and cannot overflow."""
    return (x.to(tl.float64) * y.to(tl.float64),)


@jit
def dot_finish(a, b, c):  # type: ignore[no-untyped-def]
    """The sum is the inner product."""
    return a


@jit
def dot_slope(x, y, value, a, b, c):  # type: ignore[no-untyped-def]
    """Each vector is the other's."""
    return y, x


@dataclass(frozen=True)
class Dot(Metric):
    """Inner product; of vectors of length 0: 0."""

    name: str = "dot"
    sums = 1
    terms = dot_terms
    finish = dot_finish
    definition = "sum(x * y)"
    search = "dot"
    larger_is_nearer = True
    slope = dot_slope
    scale = "sum(abs(x * y))"  # under cancellation an error relative to the value means nothing

    def rows(self, x: Array, y: Array, scratch: Array, out: Array) -> None:
        """Σ x·y of each row."""
        row_dots(x, y, out[0])

    @staticmethod
    def element(x: Any, y: Any) -> tuple[Any]:
        """The product."""
        return (np.float64(x) * np.float64(y),)

    def distance(self, sums: Sequence[float]) -> float:
        """The sum is the inner product."""
        return float(sums[0])

    def distances(self, sums: Array) -> Array:
        """The sums are the inner products."""
        first: Array = sums[0]
        return first

    def gradient(self, weight: Tensor, x: Tensor, y: Tensor, distances: Distances) -> tuple[Tensor, Tensor]:
        """Each vector is the other's."""
        return weight * y, weight * x
