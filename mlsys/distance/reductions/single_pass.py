"""reduction=single_pass: one launch, in which the last block to finish adds up what all left behind.

The pattern of CUDA's threadFenceReduction sample: each block stores its partial sums and takes a ticket, and
the block with the last ticket reads them all, in order. Bitwise the same result each time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mlsys.distance.language import tl
from mlsys.distance.launch import ALIGNMENT, Launch
from mlsys.distance.metrics import Metric
from mlsys.distance.reductions import Running, Shape
from mlsys.distance.reductions.kernels.segments import SegmentRun, Tuned
from mlsys.distance.reductions.kernels.sums import FAN, finish_sums, kernel, own_sums, store_sums, sum_rows

X_Y_OUT = (0, 1, 6)  # where these stand among the kernel's arguments
RESULTS, RESULT_STRIDE = 64, 4  # each result is aligned to 16 bytes, as the compiled kernel expects


@kernel
def single_pass_kernel(  # type: ignore[no-untyped-def]
    x, y, partials, groups, counters, sums, out,
    n: tl.int64, tiles: tl.int32, x_stride: tl.int64, y_stride: tl.int64, first: tl.int64, total: tl.int64,
    TERMS: tl.constexpr, FINISH: tl.constexpr, SUMS: tl.constexpr, ELEMENT: tl.constexpr,
    CONTIGUOUS: tl.constexpr, TILE: tl.constexpr, FOLD: tl.constexpr,
    STAGES: tl.constexpr, EVICTION: tl.constexpr, FAN: tl.constexpr,
):  # fmt: skip
    """Sum a segment; the last program of a group adds up the group, the last group's adds up the groups.

    `total` segments are summed by one launch or by several. A ticket releases what its taker stored and
    acquires what the takers before it stored. Whoever adds up reads in index order and sets its counter back.
    """
    a, b, c = own_sums(
        x, y, n, tiles, x_stride, y_stride, TERMS, SUMS, ELEMENT, CONTIGUOUS, TILE, FOLD, STAGES, EVICTION
    )  # fmt: skip
    if total == 1:
        finish_sums(a, b, c, sums, out, FINISH)
    else:
        segment = first + tl.program_id(0)
        store_sums(partials + segment, total, a, b, c, SUMS)
        group = segment // FAN
        begin = group * FAN
        here = tl.minimum(total - begin, FAN)
        if tl.atomic_add(counters + 1 + group, 1, sem="acq_rel", scope="gpu") == here - 1:
            a, b, c = sum_rows(partials + begin, total, here, SUMS, FAN)
            tl.store(counters + 1 + group, 0)
            count = tl.cdiv(total, FAN)
            if count == 1:
                finish_sums(a, b, c, sums, out, FINISH)
            else:
                store_sums(groups + group, count, a, b, c, SUMS)
                if tl.atomic_add(counters, 1, sem="acq_rel", scope="gpu") == count - 1:
                    a, b, c = sum_rows(groups, count, count, SUMS, FAN)
                    tl.store(counters, 0)
                    finish_sums(a, b, c, sums, out, FINISH)


@dataclass(frozen=True)
class SinglePass(Tuned):
    """One launch, bitwise deterministic."""

    name: str = "single_pass"
    fan: int = FAN

    def start(self, shape: Shape, metric: Metric) -> Running:
        """Prepare. Raises UserError where there is no GPU."""
        return SinglePassRun(self.name, shape, metric, self, self.fan)


class SinglePassRun(SegmentRun):
    """The partial sums of all segments and groups of segments, and the counters of those stored."""

    def __init__(self, name: str, shape: Shape, metric: Metric, tuned: Tuned, fan: int) -> None:
        super().__init__(name, shape, metric, tuned)
        self._partials = self.empty(self.metric.sums * self.total)
        groups = -(-self.total // fan)
        self._groups = self.empty(self.metric.sums * groups)
        self._counters = torch.zeros(1 + groups, dtype=torch.int32, device=shape.device)
        self._results: list[torch.Tensor] = []
        self._whole: dict[tuple[int, int], Launch] = {}
        self._kernel = self.kernel(single_pass_kernel, FAN=fan)

    def bind(self, x: torch.Tensor, y: torch.Tensor, segment: int, programs: int) -> Launch:
        """One launch; the launch that brings the last segment also finishes."""
        own = (self._partials, self._groups, self._counters, self._sums, self._result)
        return self._kernel.bind(programs, x, y, *own, *self.scalars(x, y), segment, self.total)

    def once(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The distance in memory of its own; nothing but one launch."""
        alignment = (x.data_ptr() % ALIGNMENT, y.data_ptr() % ALIGNMENT)
        whole = self._whole.get(alignment)
        if whole is None:
            whole = self._whole[alignment] = self.bind(x, y, 0, self.total)
        if not self._results:  # many at a time: allocating each would cost as much as the launch
            shape, dtype = (RESULTS, RESULT_STRIDE), self.shape.result_dtype
            self._results = list(torch.empty(shape, dtype=dtype, device=self.shape.device)[:, 0].unbind())
        result = self._results.pop()
        whole.on(X_Y_OUT, (x, y, result))
        return result

    def finish(self) -> torch.Tensor:
        """The distance: the last block has stored it."""
        return self._result
