"""reduction=hierarchical: a tree. Each block stores its sums, and launches of ever fewer programs add them
up.

Every level makes one sum of `fan` sums, so any number of partial sums takes as many levels as its logarithm
asks. Bitwise the same result each time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mlsys.distance.language import tl
from mlsys.distance.launch import Launch
from mlsys.distance.metrics import Metric
from mlsys.distance.reductions import Running, Shape
from mlsys.distance.reductions.kernels.segments import SegmentRun, Tuned
from mlsys.distance.reductions.kernels.sums import FAN, finish_sums, kernel, own_sums, store_sums, sum_rows


@kernel
def partials_kernel(  # type: ignore[no-untyped-def]
    x, y, partials,
    n: tl.int64, tiles: tl.int32, x_stride: tl.int64, y_stride: tl.int64, first: tl.int64, total: tl.int64,
    TERMS: tl.constexpr, SUMS: tl.constexpr, ELEMENT: tl.constexpr, CONTIGUOUS: tl.constexpr,
    TILE: tl.constexpr, FOLD: tl.constexpr,
    STAGES: tl.constexpr, EVICTION: tl.constexpr,
):  # fmt: skip
    """The first level of a tree: every program stores its segment's sums."""
    a, b, c = own_sums(
        x, y, n, tiles, x_stride, y_stride, TERMS, SUMS, ELEMENT, CONTIGUOUS, TILE, FOLD, STAGES, EVICTION
    )  # fmt: skip
    slot = partials + first + tl.program_id(0)
    store_sums(slot, total, a, b, c, SUMS)


@kernel
def tree_kernel(  # type: ignore[no-untyped-def]
    partials, above, sums, out, count: tl.int64, in_stride: tl.int64, out_stride: tl.int64,
    FINISH: tl.constexpr, SUMS: tl.constexpr, ROOT: tl.constexpr, FAN: tl.constexpr,
):  # fmt: skip
    """One level of a tree: every program adds up FAN partial sums; the root's only program finishes."""
    begin = tl.program_id(0).to(tl.int64) * FAN
    left = count - begin
    here = tl.minimum(left, FAN)
    a, b, c = sum_rows(partials + begin, in_stride, here, SUMS, FAN)
    if ROOT:
        finish_sums(a, b, c, sums, out, FINISH)
    else:
        store_sums(above + tl.program_id(0), out_stride, a, b, c, SUMS)


@dataclass(frozen=True)
class Hierarchical(Tuned):
    """A tree of launches, bitwise deterministic."""

    name: str = "hierarchical"
    fan: int = FAN

    def start(self, shape: Shape, metric: Metric) -> Running:
        """Prepare. Raises UserError where there is no GPU."""
        return HierarchicalRun(self.name, shape, metric, self, self.fan)


class HierarchicalRun(SegmentRun):
    """The partial sums of every level of the tree."""

    def __init__(self, name: str, shape: Shape, metric: Metric, tuned: Tuned, fan: int) -> None:
        super().__init__(name, shape, metric, tuned)
        self._kernel = self.kernel(partials_kernel)
        counts = levels(self.total, fan)
        self._partials = [
            self.empty(self.metric.sums * count) for count in counts
        ]  # launches know addresses only
        self._tree: list[Launch] = []
        for i, count in enumerate(counts):
            root = i == len(counts) - 1
            step = self.kernel(tree_kernel, ROOT=root, FAN=fan)
            above, width = (self._sums, 0) if root else (self._partials[i + 1], counts[i + 1])
            programs = -(-count // fan)
            self._tree.append(
                step.bind(programs, self._partials[i], above, self._sums, self._result, count, count, width)
            )

    def bind(self, x: torch.Tensor, y: torch.Tensor, segment: int, programs: int) -> Launch:
        """One launch of the lowest level."""
        return self._kernel.bind(programs, x, y, self._partials[0], *self.scalars(x, y), segment, self.total)

    def finish(self) -> torch.Tensor:
        """Launch the upper levels."""
        for level in self._tree:
            level()
        return self._result


def levels(count: int, fan: int) -> list[int]:
    """How many partial sums each level of the tree holds, from the blocks' down to those that the root adds
    up."""
    counts = [count]
    while counts[-1] > fan:
        counts.append(-(-counts[-1] // fan))
    return counts
