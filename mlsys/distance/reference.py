"""The float64 answer that every result is compared with, computed block by block."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from mlsys.distance import metrics
from mlsys.distance.isolation import isolated
from mlsys.distance.metrics import Metric
from mlsys.distance.reductions.blocked import BLOCK, ROWS, in_rows, scratch
from mlsys.distance.source import Source
from mlsys.distance.threads import spread


@dataclass(frozen=True)
class Reference:
    """The exact distance up to float64's rounding, and what an error is measured against.

    `scale` is Σ|x·y| for the inner product, |value| for all other metrics.
    """

    value: float
    scale: float

    def relative_error(self, value: float) -> float:
        """|value − reference| over the scale; 0 where both are equal or both nan, inf where only one is
        finite."""
        if value == self.value or (math.isnan(value) and math.isnan(self.value)):
            return 0.0
        if not (math.isfinite(value) and math.isfinite(self.value)) or self.scale == 0.0:
            return math.inf
        return abs(value - self.value) / self.scale


@isolated
def reference(
    x: Source, y: Source, metric: str | Metric, total: Callable[[list[float]], list[float]] = list
) -> Reference:
    """Compute the distance of two sources of one length in float64.

    total: where x and y are stretches of longer vectors, adds the sums of all stretches.
    """
    wide = metrics.get(metric).wide()
    blocks = -(-x.n // BLOCK)
    partials = np.zeros((wide.sums, blocks * ROWS))
    scales = np.full(blocks, np.nan)

    def block(i: int) -> None:
        start, stop = i * BLOCK, min((i + 1) * BLOCK, x.n)
        c, a, b = (own.reshape(-1)[: stop - start] for own in scratch(np.float64))
        for source, own in ((x, a), (y, b)):
            narrow = torch.empty(stop - start, dtype=source.dtype)
            source.read(start, stop, narrow)
            torch.from_numpy(own).copy_(narrow)
        at = i * ROWS
        for p, q, own in zip(in_rows(a), in_rows(b), in_rows(c), strict=True):
            wide.rows(p, q, own, partials[:, at : at + len(p)])
            at += len(p)
        scale = wide.scale(a, b)
        if scale is not None:
            scales[i] = scale

    spread(block, range(blocks))
    with np.errstate(all="ignore"):
        *sums, scale = total([*map(float, partials.sum(axis=1)), float(scales.sum())])
        value = wide.distance(sums)
    return Reference(value, abs(value) if math.isnan(scale) else scale)
