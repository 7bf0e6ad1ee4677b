"""What a load level of a record tells of batches, read as numbers, and what lines come nearest to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mlsys.errors import UserError
from mlsys.record import Record, Scalar

ONE = 0.01  # as a share: sizes that differ by less are one
BEFORE = ("embed", "retrieve", "rerank", "prompt")
Floats = NDArray[np.float64]
Source = tuple[Record, Mapping[str, Scalar]]  # a record and one of its levels


def number(level: Mapping[str, Scalar], name: str, otherwise: float | None = None) -> float:
    """The figure. Raises UserError where there is none and nothing is to stand for it."""
    value = level.get(name)
    if isinstance(value, (int, float)):
        return float(value)
    if otherwise is None:
        raise UserError(f"cost.from: a load level does not tell {name}")
    return otherwise


def has(level: Mapping[str, Scalar], name: str) -> bool:
    """Whether there is such a figure."""
    return isinstance(level.get(name), (int, float))


def met(level: Mapping[str, Scalar]) -> float:
    """The size of the batch that a request meets on average: large ones have more requests to meet them."""
    sizes = {
        int(name.rpartition(".")[2]): float(count)
        for name, count in level.items()
        if name.startswith("batch_size.hist.") and isinstance(count, (int, float))
    }
    requests = sum(size * count for size, count in sizes.items())
    if not requests:
        return number(level, "batch_size.mean", 1.0)
    return sum(size * size * count for size, count in sizes.items()) / requests


def before(level: Mapping[str, Scalar]) -> float:
    """What a batch takes before it generates, with its way to the worker's thread and back, in ms."""
    stages = sum(number(level, f"stage_ms.{stage}.mean", 0.0) for stage in BEFORE)
    return stages + number(level, "handover_ms.mean", 0.0)


def follows(level: Mapping[str, Scalar]) -> float:
    """The share of batches that began as soon as the one before had ended; 0 where that is not told."""
    closed = sum(
        float(count)
        for name, count in level.items()
        if name.startswith("closed_by.") and isinstance(count, (int, float))
    )
    return min(1.0, number(level, "cycles", 0.0) / closed) if closed else 0.0


def solved(columns: Sequence[Floats], values: Floats) -> tuple[list[float], list[float]]:
    """Factors of the columns that come nearest to the values, each value's error as a share of it; none below 0.

    A column that cannot be told apart from one before it, since they are in proportion, counts for nothing.
    """
    weights = 1 / np.maximum(values, 1e-9)
    matrix = np.stack(columns, axis=1) * weights[:, None]
    for place, column in enumerate(columns):
        if any(_proportional(column, other) for other in columns[:place]):
            matrix[:, place] = 0.0
    factors, _ = nnls(matrix, np.where(values > 0, 1.0, 0.0))
    said = np.stack(columns, axis=1) @ factors
    return [float(one) for one in factors], [
        float(a / b - 1) for a, b in zip(said, values, strict=True) if b > 0
    ]


def _proportional(one: Floats, other: Floats) -> bool:
    if not (one > 0).all() or not (other > 0).all():
        return False
    return bool(np.ptp(one / other) < ONE * np.mean(one / other))
