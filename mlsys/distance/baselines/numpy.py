"""The plain numpy expression, with the temporaries that it makes; what one writes first."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mlsys.distance.baseline import Prepared, Unavailable, as_numpy

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
    if metric not in EXPRESSIONS:
        raise Unavailable(f"numpy: no expression is written for metric={metric}")
    space: dict[str, Any] = {"np": np, "x": as_numpy(x, "numpy"), "y": as_numpy(y, "numpy")}
    code = compile(EXPRESSIONS[metric], f"<numpy {metric}>", "eval")
    return Prepared(lambda: eval(code, space), EXPRESSIONS[metric])
