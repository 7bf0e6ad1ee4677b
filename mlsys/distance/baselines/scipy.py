"""`scipy.spatial.distance`, whose definitions the project follows."""

from __future__ import annotations

import torch
from scipy.spatial import distance

from mlsys.distance.baseline import Prepared, Unavailable, as_numpy
from mlsys.distance.metrics import Metric

WHERE = "cpu"
FUNCTIONS = {"l2": "euclidean", "l1": "cityblock"}  # where scipy has another name for a metric


def prepare(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Prepared:
    """The scipy function of the metric's name."""
    name = FUNCTIONS.get(metric.name, metric.name)
    if name not in distance.__all__:
        raise Unavailable(f"scipy.spatial.distance has no {metric.name}")
    if x.dtype == torch.float16:
        raise Unavailable("scipy.spatial.distance would convert float16")
    u, v, function = as_numpy(x, "scipy"), as_numpy(y, "scipy"), getattr(distance, name)
    return Prepared(lambda: function(u, v), f"scipy.spatial.distance.{name}(x, y)")
