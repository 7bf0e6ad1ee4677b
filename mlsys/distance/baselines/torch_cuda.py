"""What one writes first for host vectors and a GPU: `.cuda()` for both, then the plain torch expression, every call."""

from __future__ import annotations

import torch

from mlsys.distance.baseline import Prepared, Unavailable, evaluate, plain
from mlsys.distance.metrics import Metric

WHERE = "cpu"


def prepare(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Prepared:
    """The copies and the expression of `metric`; what is timed has both."""
    if not torch.cuda.is_available():
        raise Unavailable("torch_cuda needs a GPU")
    expression = f"(lambda x, y: {plain(metric, 'torch')})(x.cuda(), y.cuda())"
    return evaluate(expression, {"torch": torch, "x": x, "y": y})
