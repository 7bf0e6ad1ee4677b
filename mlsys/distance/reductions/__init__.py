"""What a reduction says: how sums travel from the elements to the end.

A reduction starts a `Running` for vectors of one length, dtype, device and metric. It takes the elements in
pieces (one piece when they lie in memory, many when they stream) and cuts them at the same places whatever
the pieces are, so that the result does not depend on how the elements arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch

from mlsys.distance import folder
from mlsys.distance.metrics import Metric
from mlsys.errors import UserError


@dataclass(frozen=True)
class Shape:
    """What a reduction must know before the first element: length, element type and place."""

    n: int
    dtype: torch.dtype
    device: torch.device
    contiguous: bool = True

    @property
    def wide(self) -> bool:
        """Whether elements are float64, and so the result."""
        return self.dtype == torch.float64

    @property
    def result_dtype(self) -> torch.dtype:
        """float64 for float64 vectors, float32 for all others."""
        return torch.float64 if self.wide else torch.float32


class Running(Protocol):
    """One reduction of two vectors under way; after `finish` it may begin again at element 0."""

    name: str
    align: int  # a piece begins at a multiple of `align` elements
    slots: int  # how many pieces a stream holds: two on a CPU, three on a GPU

    def add(self, x: torch.Tensor, y: torch.Tensor, first: int) -> None:
        """Take in elements first … first + len(x) of both vectors, 1-D on the device, in order."""
        ...

    def finish(self) -> torch.Tensor:
        """The distance, 0-d on the device, enqueued on its current stream; each call may reuse the tensor."""
        ...

    def once(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The distance of two whole vectors in a tensor that no later call touches; strides as in the first call."""
        ...

    def sums(self) -> torch.Tensor:
        """The metric's finished sums, (sums,) float64 on the device; call after `finish`."""
        ...


class Reduction(Protocol):
    """An option of the group `reduction`."""

    @property
    def name(self) -> str:
        """The option's name."""
        ...

    def start(self, shape: Shape, metric: Metric) -> Running:
        """Prepare. Raises UserError where this reduction cannot run on `shape.device`."""
        ...


def names() -> list[str]:
    """All reductions there are, by the modules of this folder."""
    return folder.names(__path__)


def get(reduction: str | Reduction) -> Reduction:
    """The reduction called `reduction`, or the instance itself. Raises UserError for an unknown name."""
    if isinstance(reduction, str):
        return _named(reduction)
    if not hasattr(reduction, "start"):
        raise UserError(f"reduction={reduction!r} must be a name or a Reduction")
    return reduction


@lru_cache
def _named(name: str) -> Reduction:
    found: Reduction = folder.make("reduction", __name__, __path__, name)
    return found
