"""scikit-learn's `paired_distances`, where installed: the published comparison's baseline, here warm."""

from __future__ import annotations

import torch

from mlsys.distance.baseline import Prepared, Unavailable, as_numpy
from mlsys.distance.metrics import Metric

WHERE = "cpu"
METRICS = {"l2": "euclidean", "l1": "manhattan", "cosine": "cosine"}


def prepare(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Prepared:
    """`paired_distances` of one row each."""
    try:
        from sklearn.metrics.pairwise import paired_distances
    except ImportError as error:
        raise Unavailable("scikit-learn is not installed (pip install scikit-learn)") from error
    if metric.name not in METRICS:
        raise Unavailable(f"scikit-learn has no {metric.name}")
    u, v, name = as_numpy(x[None], "scikit-learn"), as_numpy(y[None], "scikit-learn"), METRICS[metric.name]
    return Prepared(
        lambda: paired_distances(u, v, metric=name), f"paired_distances([x], [y], metric='{name}')"
    )
