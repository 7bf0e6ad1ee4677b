"""The plain eager torch expression on the vectors' device, with the temporaries that it makes."""

from __future__ import annotations

import torch

from mlsys.distance.baseline import Prepared, evaluate

WHERE = "device"
EXPRESSIONS = {
    "l2": "((x - y) ** 2).sum().sqrt()",
    "sqeuclidean": "((x - y) ** 2).sum()",
    "l1": "(x - y).abs().sum()",
    "cosine": "1 - (x * y).sum() / ((x * x).sum() * (y * y).sum()).sqrt()",
    "dot": "(x * y).sum()",
}


def prepare(x: torch.Tensor, y: torch.Tensor, metric: str) -> Prepared:
    """The expression of `metric`."""
    return evaluate("torch", EXPRESSIONS, metric, {"x": x, "y": y})
