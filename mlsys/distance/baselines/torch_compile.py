"""`torch.compile` of the plain expression: what a fusing compiler makes of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from mlsys.distance.baseline import Prepared
from mlsys.distance.baselines.torch import prepare as eager
from mlsys.distance.metrics import Metric

WHERE = "device"


def prepare(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Prepared:
    """Compile the expression of `metric` now, so that only the compiled call is timed."""
    expression = eager(x, y, metric).expression
    plain: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = eval(f"lambda x, y: {expression}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own deprecations
        function = torch.compile(plain, dynamic=False)
        function(x, y)
    return Prepared(lambda: function(x, y), f"torch.compile: {expression}")
