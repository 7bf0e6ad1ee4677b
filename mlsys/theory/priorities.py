"""Priorities that do not interrupt: the highest class that waits goes next, and what has begun is finished.

Cobham, Priority assignment in waiting line problems, Operations Research 2, 1954: W_k = W_0 / ((1 − σ_{k−1})(1 −
σ_k)), W_0 half of λE[S²] over all classes, σ_k the utilisation of class k and those above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from mlsys.theory.law import stable


@dataclass(frozen=True)
class Class:
    """One class of requests. `second_moment`: E[S²] in ms²; None for a service time that is always the same."""

    rate_rps: float
    service_ms: float
    second_moment: float | None = None

    @property
    def utilisation(self) -> float:
        """The share of the worker's time that it takes."""
        return self.rate_rps / 1e3 * self.service_ms

    @property
    def residual_ms(self) -> float:
        """λE[S²]/2: what an arrival finds left of a service of this class."""
        square = self.service_ms**2 if self.second_moment is None else self.second_moment
        return self.rate_rps / 1e3 * square / 2


def waits_ms(classes: Sequence[Class]) -> list[float]:
    """The mean wait of each class, the highest first. Raises Unstable where all together are too much."""
    stable(sum(one.utilisation for one in classes))
    residual = sum(one.residual_ms for one in classes)
    above = [0.0, *accumulate(one.utilisation for one in classes)]
    return [residual / ((1 - before) * (1 - after)) for before, after in pairwise(above)]
