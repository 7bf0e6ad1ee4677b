"""reduction=atomic: each block adds its sums to running sums with atomic adds, in whatever order blocks
finish.

The adds are float64 and spread over a few accumulators, so that they seldom wait for each other; a second
launch of one program adds those up. The order of additions, and with it the last bits, may differ from call
to call.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mlsys.distance.language import tl
from mlsys.distance.launch import Launch
from mlsys.distance.metrics import Metric
from mlsys.distance.reductions import Running, Shape
from mlsys.distance.reductions.kernels.segments import SegmentRun, Tuned
from mlsys.distance.reductions.kernels.sums import finish_sums, kernel, own_sums, sum_rows

SLOTS = 64  # accumulators over which the adds spread, so that they seldom meet


@kernel
def atomic_kernel(  # type: ignore[no-untyped-def]
    x, y, slots,
    n: tl.int64, tiles: tl.int32, x_stride: tl.int64, y_stride: tl.int64, first: tl.int64,
    TERMS: tl.constexpr, SUMS: tl.constexpr, ELEMENT: tl.constexpr, CONTIGUOUS: tl.constexpr,
    TILE: tl.constexpr, FOLD: tl.constexpr,
    STAGES: tl.constexpr, EVICTION: tl.constexpr, SLOTS: tl.constexpr,
):  # fmt: skip
    """Every program adds its segment's sums to one of `SLOTS` accumulators of each sum."""
    a, b, c = own_sums(
        x, y, n, tiles, x_stride, y_stride, TERMS, SUMS, ELEMENT, CONTIGUOUS, TILE, FOLD, STAGES, EVICTION
    )  # fmt: skip
    slot = slots + (first + tl.program_id(0)) % SLOTS
    tl.atomic_add(slot, a, sem="relaxed")
    if SUMS == 3:
        tl.atomic_add(slot + SLOTS, b, sem="relaxed")
        tl.atomic_add(slot + 2 * SLOTS, c, sem="relaxed")


@kernel
def collect_kernel(  # type: ignore[no-untyped-def]
    slots, sums, out, FINISH: tl.constexpr, SUMS: tl.constexpr, SLOTS: tl.constexpr
):  # fmt: skip
    """Add up the accumulators, finish, and empty them for the next call."""
    a, b, c = sum_rows(slots, SLOTS, SLOTS, SUMS, SLOTS)
    lanes = tl.arange(0, SLOTS)
    for i in tl.static_range(SUMS):
        tl.store(slots + i * SLOTS + lanes, tl.zeros([SLOTS], tl.float64))
    finish_sums(a, b, c, sums, out, FINISH)


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
        self._kernel = self.kernel(atomic_kernel, SLOTS=SLOTS)
        self._collect = self.kernel(collect_kernel, SLOTS=SLOTS).bind(
            1, self._slots, self._sums, self._result
        )

    def bind(self, x: torch.Tensor, y: torch.Tensor, segment: int, programs: int) -> Launch:
        """One launch that adds a piece's sums."""
        return self._kernel.bind(programs, x, y, self._slots, *self.scalars(x, y), segment)

    def finish(self) -> torch.Tensor:
        """Launch the program that adds up the accumulators."""
        self._collect()
        return self._result
