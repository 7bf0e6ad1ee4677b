"""`scipy.spatial.distance`, whose definitions the project follows."""

from __future__ import annotations

import torch
from scipy.spatial import distance

from mlsys.distance.baseline import Prepared, Unavailable, as_numpy
from mlsys.distance.metrics import Metric

WHERE = "cpu"
FUNCTIONS = {"l2": "euclidean", "sqeuclidean": "sqeuclidean", "l1": "cityblock", "cosine": "cosine"}


def prepare(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Prepared:
    """The scipy function of `metric`."""
    if metric.name not in FUNCTIONS:
        raise Unavailable(f"scipy.spatial.distance has no {metric.name}")
    if x.dtype == torch.float16:
        raise Unavailable("scipy.spatial.distance would convert float16")
    u, v, function = as_numpy(x, "scipy"), as_numpy(y, "scipy"), getattr(distance, FUNCTIONS[metric.name])
    return Prepared(lambda: function(u, v), f"scipy.spatial.distance.{FUNCTIONS[metric.name]}(x, y)")
