"""reduction=atomic: each block adds its sums to running sums with atomic adds, in whatever order blocks
finish.

The adds are float64 and spread over a few accumulators, so that they seldom wait for each other; a second
launch of one program adds those up. The order of additions, and with it the last bits, may differ from call
to call.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mlsys.distance.metrics import Metric
from mlsys.distance.reductions import Running, Shape
from mlsys.distance.reductions.kernels import SLOTS, atomic_kernel, collect_kernel
from mlsys.distance.reductions.launch import Call
from mlsys.distance.reductions.segments import SegmentRun, Tuned


@dataclass(frozen=True)
class Atomic(Tuned):
    """Atomic adds, not deterministic in the last bits."""

    name: str = "atomic"

    def start(self, shape: Shape, metric: Metric) -> Running:
        """Prepare. Raises UserError where there is no GPU."""
        return AtomicRun(self.name, shape, metric, self)


class AtomicRun(SegmentRun):
    """The accumulators; they are zero between calls."""

    def __init__(self, name: str, shape: Shape, metric: Metric, tuned: Tuned) -> None:
        super().__init__(name, shape, metric, tuned)
        self._slots = torch.zeros(3 * SLOTS, dtype=torch.float64, device=shape.device)
        self._kernel = self.kernel(atomic_kernel)
        self._collect = self.kernel(collect_kernel).bind(1, self._slots, self._sums, self._result)

    def bind(self, x: torch.Tensor, y: torch.Tensor, segment: int, programs: int) -> Call:
        """One launch that adds a piece's sums."""
        return self._kernel.bind(programs, x, y, self._slots, *self.scalars(x, y), segment)

    def finish(self) -> torch.Tensor:
        """Launch the program that adds up the accumulators."""
        self._collect()
        return self._result
