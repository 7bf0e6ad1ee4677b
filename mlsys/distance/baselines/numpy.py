"""The plain numpy expression, with the temporaries that it makes; what one writes first."""

from __future__ import annotations

import numpy as np
import torch

from mlsys.distance.baseline import Prepared, as_numpy, evaluate

WHERE = "cpu"
EXPRESSIONS = {
    "l2": "np.sqrt(np.sum((x - y) ** 2))",
    "sqeuclidean": "np.sum((x - y) ** 2)",
    "l1": "np.sum(np.abs(x - y))",
    "cosine": "1 - np.sum(x * y) / np.sqrt(np.sum(x * x) * np.sum(y * y))",
    "dot": "np.sum(x * y)",
}


def prepare(x: torch.Tensor, y: torch.Tensor, metric: str) -> Prepared:
    """The expression of `metric` over the tensors' own memory."""
    space = {"np": np, "x": as_numpy(x, "numpy"), "y": as_numpy(y, "numpy")}
    return evaluate("numpy", EXPRESSIONS, metric, space)
