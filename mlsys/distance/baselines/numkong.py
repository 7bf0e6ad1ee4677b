"""numkong (SimSIMD's successor): one vectorised thread, where installed."""

from __future__ import annotations

import torch

from mlsys.distance.baseline import Prepared, Unavailable, as_numpy

WHERE = "cpu"
FUNCTIONS = {"l2": "euclidean", "sqeuclidean": "sqeuclidean", "cosine": "angular", "dot": "dot"}


def prepare(x: torch.Tensor, y: torch.Tensor, metric: str) -> Prepared:
    """The numkong function of `metric`."""
    try:
        import numkong
    except ImportError as error:
        raise Unavailable("numkong is not installed (pip install numkong)") from error
    if metric not in FUNCTIONS:
        raise Unavailable(f"numkong has no {metric}")
    u, v, function = as_numpy(x, "numkong"), as_numpy(y, "numkong"), getattr(numkong, FUNCTIONS[metric])
    return Prepared(lambda: function(u, v), f"numkong.{FUNCTIONS[metric]}(x, y)")
