"""The metrics' definitions, as scipy has them: what every distance and every baseline is tested against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.spatial.distance as scipy_distance

SCIPY: dict[str, Callable[[Any, Any], Any]] = {
    "l2": scipy_distance.euclidean,
    "sqeuclidean": scipy_distance.sqeuclidean,
    "l1": scipy_distance.cityblock,
    "cosine": scipy_distance.cosine,
    "dot": np.dot,
}


def peer(metric: str, x: Any, y: Any) -> tuple[float, float]:
    """scipy's answer in float64, and what an error is measured against."""
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    value = float(SCIPY[metric](a, b))
    return value, float(np.abs(a * b).sum()) if metric == "dot" else max(abs(value), 1e-12)
