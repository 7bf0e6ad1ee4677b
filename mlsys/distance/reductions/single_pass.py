"""reduction=single_pass: one launch, in which the last block to finish adds up what all left behind.

The pattern of CUDA's threadFenceReduction sample: each block stores its partial sums and takes a ticket, and
the block with the last ticket reads them all, in order. Bitwise the same result each time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mlsys.distance.metrics import Metric
from mlsys.distance.reductions import Running, Shape
from mlsys.distance.reductions.kernels import single_pass_kernel
from mlsys.distance.reductions.launch import Call
from mlsys.distance.reductions.segments import SegmentRun, Tuned

MOST_AT_ONCE = 4096  # partial sums that the last block reads before it waits for any


@dataclass(frozen=True)
class SinglePass(Tuned):
    """One launch, bitwise deterministic."""

    name: str = "single_pass"

    def start(self, shape: Shape, metric: Metric) -> Running:
        """Prepare. Raises UserError where there is no GPU."""
        return SinglePassRun(self.name, shape, metric, self)


class SinglePassRun(SegmentRun):
    """The partial sums of all segments and the counter of those stored."""

    def __init__(self, name: str, shape: Shape, metric: Metric, tuned: Tuned) -> None:
        super().__init__(name, shape, metric, tuned)
        self._partials = self.empty(self.metric.sums * self.total)
        self._counter = torch.zeros((), dtype=torch.int32, device=shape.device)
        at_once = min(max(1 << (self.total - 1).bit_length(), 128), MOST_AT_ONCE)
        self._kernel = self.kernel(single_pass_kernel, FAN=at_once)

    def bind(self, x: torch.Tensor, y: torch.Tensor, segment: int, programs: int) -> Call:
        """One launch; the launch that brings the last segment also finishes."""
        own = (self._partials, self._counter, self._sums, self._result)
        return self._kernel.bind(programs, x, y, *own, *self.scalars(x, y), segment, self.total)

    def once(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The distance in memory of its own; nothing but one launch."""
        result = torch.empty((), dtype=self.shape.result_dtype, device=self.shape.device)
        own = (self._partials, self._counter, self._sums, result)
        self._kernel.bind(self.total, x, y, *own, *self.scalars(x, y), 0, self.total)()
        return result

    def finish(self) -> torch.Tensor:
        """The distance: the last block has stored it."""
        return self._result
