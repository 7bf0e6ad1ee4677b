"""numkong (SimSIMD's successor): one vectorised thread, where installed."""

from __future__ import annotations

import torch

from mlsys.distance.baseline import Prepared, Unavailable, as_numpy
from mlsys.distance.metrics import Metric

WHERE = "cpu"
FUNCTIONS = {"l2": "euclidean", "sqeuclidean": "sqeuclidean", "cosine": "angular", "dot": "dot"}


def prepare(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Prepared:
    """The numkong function of `metric`."""
    try:
        import numkong
    except ImportError as error:
        raise Unavailable("numkong is not installed (pip install numkong)") from error
    if metric.name not in FUNCTIONS:
        raise Unavailable(f"numkong has no {metric.name}")
    u, v, function = as_numpy(x, "numkong"), as_numpy(y, "numkong"), getattr(numkong, FUNCTIONS[metric.name])
    return Prepared(lambda: function(u, v), f"numkong.{FUNCTIONS[metric.name]}(x, y)")
