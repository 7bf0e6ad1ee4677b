"""`torch.dot` on the same vectors, whatever the metric: the read limit that a good library reaches (BLAS, cuBLAS)."""

from __future__ import annotations

import torch

from mlsys.distance.baseline import Prepared, Unavailable
from mlsys.distance.metrics import Metric

WHERE = "device"


def prepare(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Prepared:
    """`torch.dot(x, y)`; `metric` changes nothing."""
    if x.device.type == "cuda" and not x.dtype.is_floating_point:
        raise Unavailable(f"torch.dot has no {x.dtype} on a GPU")
    return Prepared(lambda: torch.dot(x, y), "torch.dot(x, y)", exact=metric.name == "dot")
