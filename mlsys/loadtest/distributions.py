"""A distribution as flat names and numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlsys.record import Scalar

P99_NEEDS = 100
PARTS = ("mean", "p50", "p90", "p95", "p99", "max")


def distribution(name: str, values: Sequence[float] | NDArray[np.float64]) -> dict[str, Scalar]:
    """`name.{mean,p50,p90,p95,p99,max}`; below 100 values p99 would be the maximum renamed, and is None."""
    if not len(values):
        return {f"{name}.{part}": None for part in PARTS}
    p50, p90, p95, p99 = (float(value) for value in np.percentile(values, [50, 90, 95, 99]))
    return {
        f"{name}.mean": float(np.mean(values)),
        f"{name}.p50": p50,
        f"{name}.p90": p90,
        f"{name}.p95": p95,
        f"{name}.p99": p99 if len(values) >= P99_NEEDS else None,
        f"{name}.max": float(np.max(values)),
    }
