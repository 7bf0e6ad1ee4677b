"""All pairs on a CPU: a product in float64 where the metric is one, else the loop over rows, a row of x at a time."""

from __future__ import annotations

import torch

from mlsys.distance.cross.products import FORMS, distances
from mlsys.distance.metrics import Metric
from mlsys.distance.rows import cpu as rows

BLOCK_SCORES = 1 << 18  # distances of a block: float64 that stays near the cores
PAIRS_ELEMENTS = 1 << 22  # elements that are gathered at once where pairs are computed again


def computed(x: torch.Tensor, y: torch.Tensor, metric: Metric, out: torch.Tensor) -> None:
    """The distance of each row of x (Q, n) to each of y (N, n) into out (Q, N) of float32 or float64."""
    step = max(1, BLOCK_SCORES // max(1, len(y)))
    if metric.search not in FORMS or metric.name != metric.search:
        _directly(x, y, metric, out)
        return
    wide = y.double()
    yy = wide.square().sum(1)
    for first in range(0, len(x), step):
        some = x[first : first + step].double()
        xx = some.square().sum(1, keepdim=True)
        value, doubtful = distances(metric.name, some, wide, xx, yy, out.dtype)
        target = out[first : first + step]
        target.copy_(value)
        if doubtful is not None:
            _again(x[first : first + step], y, metric, target, doubtful.nonzero())


def _again(
    x: torch.Tensor, y: torch.Tensor, metric: Metric, out: torch.Tensor, doubtful: torch.Tensor
) -> None:
    """Compute the pairs (P, 2) from their elements."""
    for pairs in doubtful.split(max(1, PAIRS_ELEMENTS // max(1, x.shape[1]))):
        if not len(pairs):
            return
        line, row = pairs.unbind(1)
        found = torch.empty(len(pairs), dtype=out.dtype, device="cpu")
        rows.distances(x[line], y[row], metric, found)
        out[line, row] = found


def _directly(x: torch.Tensor, y: torch.Tensor, metric: Metric, out: torch.Tensor) -> None:
    if not rows.readable(y):
        stored = torch.float64 if y.dtype == torch.float64 else torch.float32
        x, y = x.to(stored), y.to(stored).contiguous()
    x = x.contiguous()
    for line, target in zip(x, out, strict=True):
        rows.distances(line.expand(y.shape), y, metric, target)
