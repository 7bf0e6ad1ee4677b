"""The answer that every result is compared with: the metric's definition in float64, block by block.

None of the metric's own code takes part. Where float64 vectors have a sum that leaves float64's range, the sums are
made again in the machine's `long double`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mlsys.distance import metrics
from mlsys.distance.definition import Definition, define
from mlsys.distance.isolation import isolated
from mlsys.distance.metrics import Metric
from mlsys.distance.source import Source
from mlsys.distance.threads import spread

BLOCK = 1 << 16  # elements, whose temporaries stay in the second-level cache
WIDER = np.finfo(np.longdouble).maxexp > 1024  # not so on Windows and on Apple's ARM
SMALL = 1e-290  # a sum below it may have lost terms
FAR = np.longdouble(2) ** (1500 if WIDER else 0)  # brings any square of a float64 into range


@dataclass(frozen=True)
class Reference:
    """The exact distance up to float64's rounding, and what an error is measured against: the metric's `scale`."""

    value: float
    scale: float

    def relative_error(self, value: float) -> float:
        """|value − reference| over the scale; 0 where both are equal or both nan, inf where they differ and one is not
        finite or the scale is 0."""
        if value == self.value or (math.isnan(value) and math.isnan(self.value)):
            return 0.0
        if not (math.isfinite(value) and math.isfinite(self.value)) or self.scale == 0.0:
            return math.inf
        return abs(value - self.value) / self.scale


@isolated
def reference(
    x: Source, y: Source, metric: str | Metric, total: Callable[[list[float]], list[float]] = list
) -> Reference:
    """Compute the distance of two sources of one length by the metric's definition.

    total: where x and y are stretches of longer vectors, adds the sums of all stretches. Raises UserError for a metric
    that states no definition.
    """
    chosen = metrics.get(metric)
    value, scale = define(chosen.stated()), define(chosen.scale)
    with np.errstate(all="ignore"):
        sums = total([*map(float, _sums(x, y, (value, scale), np.float64))])
        if WIDER and x.dtype == torch.float64 and not all(SMALL < abs(item) < math.inf for item in sums):
            sums = _joined(total(_parted(_sums(x, y, (value, scale), np.longdouble))))
        wide = [np.longdouble(item) for item in sums]
        found = float(value.finish(wide[: value.sums]))
        return Reference(found, float(scale.finish(wide[value.sums :], value=found)))


def _sums(x: Source, y: Source, definitions: tuple[Definition, ...], kind: Any) -> Any:
    """The sums of all definitions over both sources, (sums,) of `kind`."""
    blocks = range(-(-x.n // BLOCK))
    partials = np.zeros((len(blocks), sum(definition.sums for definition in definitions)), kind)

    def block(i: int) -> None:
        start, stop = i * BLOCK, min((i + 1) * BLOCK, x.n)
        a, b = (_read(source, start, stop).astype(kind, copy=False) for source in (x, y))
        partials[i] = [item for definition in definitions for item in definition.add(a, b)]

    spread(block, blocks)
    return partials.sum(axis=0)


def _read(source: Source, start: int, stop: int) -> Any:
    narrow = torch.empty(stop - start, dtype=source.dtype, device="cpu")
    source.read(start, stop, narrow)
    return narrow.double().numpy()


def _parted(sums: Any) -> list[float]:
    """Numbers of a wide range as float64 that can be added up: scaled down, as they are, scaled up."""
    return [float(item * by) for item in sums for by in (1 / FAR, 1, FAR)]


def _joined(parts: list[float]) -> list[Any]:
    """The numbers again: of each, the part that kept its range."""
    joined = []
    for down, plain, up in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if math.isinf(plain):
            joined.append(np.longdouble(down) * FAR)
        else:
            joined.append(np.longdouble(plain) if abs(plain) > SMALL else np.longdouble(up) / FAR)
    return joined
