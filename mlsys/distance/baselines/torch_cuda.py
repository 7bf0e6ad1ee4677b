"""What one writes first for host vectors and a GPU: `.cuda()` for both, then the plain torch expression, every call."""

from __future__ import annotations

import torch

from mlsys.distance.baseline import Prepared, Unavailable, evaluate
from mlsys.distance.baselines.torch import EXPRESSIONS as PLAIN

WHERE = "cpu"
EXPRESSIONS = {metric: f"(lambda x, y: {plain})(x.cuda(), y.cuda())" for metric, plain in PLAIN.items()}


def prepare(x: torch.Tensor, y: torch.Tensor, metric: str) -> Prepared:
    """The copies and the expression of `metric`; what is timed has both."""
    if not torch.cuda.is_available():
        raise Unavailable("torch_cuda needs a GPU")
    return evaluate("torch_cuda", EXPRESSIONS, metric, {"x": x, "y": y})
