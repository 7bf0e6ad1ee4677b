"""The best single call that torch offers for the metric."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mlsys.distance.baseline import Prepared, Unavailable
from mlsys.distance.metrics import Metric

WHERE = "device"


def prepare(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Prepared:
    """The library call of `metric`."""
    calls = {
        "l2": Prepared(lambda: torch.dist(x, y), "torch.dist(x, y)"),
        "sqeuclidean": Prepared(
            lambda: F.mse_loss(x, y, reduction="sum"), "F.mse_loss(x, y, reduction='sum')"
        ),
        "l1": Prepared(lambda: F.l1_loss(x, y, reduction="sum"), "F.l1_loss(x, y, reduction='sum')"),
        "cosine": Prepared(
            lambda: 1 - F.cosine_similarity(x, y, dim=0), "1 - F.cosine_similarity(x, y, dim=0)"
        ),
        "dot": Prepared(lambda: torch.dot(x, y), "torch.dot(x, y)"),
    }
    if metric.name not in calls:
        raise Unavailable(f"torch has no single call for metric={metric.name}")
    return calls[metric.name]
