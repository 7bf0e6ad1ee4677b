"""The metric's definition in eager torch on the vectors' device, with the temporaries that it makes."""

from __future__ import annotations

import torch

from mlsys.distance.baseline import Prepared, evaluate, plain
from mlsys.distance.metrics import Metric

WHERE = "device"


def prepare(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Prepared:
    """The definition of `metric`."""
    return evaluate(plain(metric, "torch"), {"torch": torch, "x": x, "y": y})
