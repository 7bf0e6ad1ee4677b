"""The distance of vectors that are spread over the ranks of a `torch.distributed` group, one shard a rank.

Each rank sums its shard with the reduction of its device; the ranks exchange these few float64 sums, and every rank
adds them in rank order, so that all get the same bits whatever algorithm the exchange uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from mlsys.distance import metrics
from mlsys.distance.metrics import Metric, for_dtype
from mlsys.distance.plan import Plan, plan
from mlsys.distance.reductions import Reduction
from mlsys.distance.source import Source, count_nan
from mlsys.errors import UserError


@dataclass
class RankPlan:
    """This rank's part of a distance; every rank of the group must call it, as often as the others."""

    part: Plan
    metric: Metric
    group: Any = None

    @property
    def reduction(self) -> str:
        """Name of the reduction that runs on this rank."""
        return self.part.reduction

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        return self.part.device

    def __call__(self) -> torch.Tensor:
        """The distance of the whole vectors, 0-d on this rank's device. Waits for the other ranks."""
        self.part()
        own = self.part.running.sums().contiguous()
        all_sums = [torch.empty_like(own) for _ in range(dist.get_world_size(self.group))]
        dist.all_gather(all_sums, own, group=self.group)
        total = torch.stack(all_sums).cpu().numpy().cumsum(axis=0)[-1]  # a cumulative sum keeps the order
        wide = self.part.x.dtype == torch.float64
        distance = for_dtype(self.metric, wide).distance(total.tolist())
        return torch.tensor(distance, dtype=torch.float64 if wide else torch.float32, device=self.device)


def rank_plan(
    x: torch.Tensor,
    y: torch.Tensor,
    metric: str | Metric = "l2",
    reduction: str | Reduction = "auto",
    group: Any = None,
) -> RankPlan:
    """Plan the distance of sharded vectors; x and y are this rank's shards, 1-D of one length and dtype.

    Shards may differ in length between ranks and may be empty. Raises UserError without a process group, and what
    `plan` raises.
    """
    if not dist.is_initialized():
        raise UserError("a sharded distance needs a process group: start with torchrun")
    return RankPlan(plan(x, y, metric, reduction), metrics.get(metric), group)


def bounds(n: int, rank: int, ranks: int) -> tuple[int, int]:
    """First element of rank's shard and of the next: shards differ by one element at most."""
    return n * rank // ranks, n * (rank + 1) // ranks


@dataclass(frozen=True)
class Shard:
    """A stretch of a source, itself a source."""

    whole: Source
    start: int
    stop: int

    @property
    def n(self) -> int:
        """Number of elements."""
        return self.stop - self.start

    @property
    def dtype(self) -> torch.dtype:
        """Element type."""
        return self.whole.dtype

    @property
    def description(self) -> str:
        """What it is, for the record."""
        return f"elements {self.start} to {self.stop} of {self.whole.description}"

    def read(self, start: int, stop: int, out: torch.Tensor) -> None:
        """Copy elements start … stop of the shard into `out`."""
        self.whole.read(self.start + start, self.start + stop, out)

    def tensor(self) -> torch.Tensor:
        """The shard in memory; the rest of the vector is not read."""
        shard = torch.empty(self.n, dtype=self.dtype)
        self.read(0, self.n, shard)
        return shard

    def nan_count(self) -> int:
        """How many elements are nan."""
        return count_nan(self)
