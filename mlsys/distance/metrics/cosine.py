"""Cosine distance: 1 − Σ x·y / (‖x‖ ‖y‖), with scipy's answers for odd input (a zero norm gives nan)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsys.distance.language import jit, tl
from mlsys.distance.metrics import Array, Distances, Metric, Tensor, row_dots


@jit
def cosine_terms(x, y):  # type: ignore[no-untyped-def]
    """x·y, x² and y², so that each vector is read once."""
    a = x.to(tl.float64)
    b = y.to(tl.float64)
    return (a * b, a * a, b * b)


@jit
def cosine_finish(a, b, c):  # type: ignore[no-untyped-def]
    """1 − cos, clipped to [0, 2] as scipy does; 0/0 is nan."""
    square = b * c
    inside = (square > 1e-280) & (square < float("inf"))
    d = 1.0 - a / tl.where(inside, tl.sqrt(square), tl.sqrt(b) * tl.sqrt(c))
    return tl.where(d < 0.0, 0.0, tl.where(d > 2.0, 2.0, d))


@jit
def cosine_slope(x, y, value, a, b, c):  # type: ignore[no-untyped-def]
    """What of the other's unit vector is across one's own, over one's own length."""
    across = 1.0 / tl.sqrt(b) / tl.sqrt(c)
    along_x, along_y = a * across / b, a * across / c
    return x * along_x - y * across, y * along_y - x * across


@dataclass(frozen=True)
class Cosine(Metric):
    """Cosine distance; of vectors of length 0, or where a norm is 0: nan."""

    name: str = "cosine"
    sums = 3
    terms = cosine_terms
    finish = cosine_finish
    definition = "1 - sum(x * y) / sqrt(sum(x * x) * sum(y * y))"
    search = "cosine"
    slope = cosine_slope
    slope_of_sums = True
    scale = "abs(value) + 1e-15"  # below it 1 − cos is float64's rounding

    def rows(self, x: Array, y: Array, scratch: Array, out: Array) -> None:
        """Σ x·y, Σ x² and Σ y² of each row: the rows come from memory once, then from the cache."""
        row_dots(x, y, out[0])
        row_dots(y, y, out[2])
        row_dots(x, x, out[1])

    @staticmethod
    def element(x: Any, y: Any) -> tuple[Any, Any, Any]:
        """x·y, x² and y²: the elements come from memory once."""
        a, b = np.float64(x), np.float64(y)
        return (a * b, a * a, b * b)

    def distance(self, sums: Sequence[float]) -> float:
        """1 − cos, clipped to [0, 2]."""
        product, xx, yy = sums
        square = xx * yy  # its root is exact where xx == yy, which makes the distance of equal vectors 0
        norms = math.sqrt(square) if 1e-280 < square < math.inf else math.sqrt(xx) * math.sqrt(yy)
        if norms == 0.0:
            return math.nan
        d = 1.0 - product / norms
        return d if math.isnan(d) else min(max(d, 0.0), 2.0)

    def distances(self, sums: Array) -> Array:
        """The same for many."""
        product, xx, yy = sums
        square = xx * yy
        inside = (square > 1e-280) & (square < math.inf)
        norms = np.where(inside, np.sqrt(square), np.sqrt(xx) * np.sqrt(yy))
        found: Array = np.clip(1.0 - product / np.where(norms == 0.0, math.nan, norms), 0.0, 2.0)
        return found

    def gradient(self, weight: Tensor, x: Tensor, y: Tensor, distances: Distances) -> tuple[Tensor, Tensor]:
        """What of the other's unit vector is across one's own, over one's own length."""
        origin = x.new_zeros(1, x.shape[1])
        x_norm, y_norm = distances(x, origin, "l2"), distances(y, origin, "l2")
        p, q, cosine = x / x_norm, y / y_norm, 1 - distances(x, y, "cosine")
        return weight / x_norm * (cosine * p - q), weight / y_norm * (cosine * q - p)
