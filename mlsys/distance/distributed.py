"""The distance of vectors that are spread over the ranks of a `torch.distributed` group, one shard a rank.

Each rank sums its shard with the reduction of its device; the ranks exchange these few float64 sums, and every rank
adds them in rank order, so that all get the same bits whatever algorithm the exchange uses.
"""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist

from mlsys import progress
from mlsys.distance import metrics
from mlsys.distance.isolation import isolated
from mlsys.distance.metrics import Metric, for_dtype
from mlsys.distance.pair import Plan, plan
from mlsys.distance.reductions import Reduction
from mlsys.distance.source import Source
from mlsys.distance.streaming import StreamPlan
from mlsys.errors import UserError
from mlsys.ranks import Group, RankError
from mlsys.ranks.torchrun import answered
from mlsys.record import Scalar

LATENCY_OF = "the slowest rank, from a barrier on, the exchange included"


@dataclass
class RankPlan:
    """This rank's part of a distance; every rank of the group must call it, as often as the others."""

    part: Plan | StreamPlan
    metric: Metric
    group: Any = None
    _own: torch.Tensor = field(init=False, repr=False)
    _all: torch.Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Room for the sums of this rank and of all, with a last column that says whether a rank failed."""
        ranks, sums = dist.get_world_size(self.group), self._finishing.sums
        self._all = torch.zeros(ranks, sums + 1, dtype=torch.float64, device=self.device)
        self._own = torch.zeros_like(self._all[0])

    @property
    def reduction(self) -> str:
        """Name of the reduction that runs on this rank."""
        return self.part.reduction

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        return self.part.device

    @isolated
    def __call__(self) -> torch.Tensor:
        """The distance of the whole vectors, 0-d on this rank's device. Waits for the other ranks.

        A rank whose part fails tells the others before it raises; they raise RankError.
        """
        failure: Exception | None = None
        try:
            self.part()
            self._own[:-1].copy_(self.part.running.sums())
        except Exception as error:
            failure = error
            self._own[-1] = 1
        with answered():
            dist.all_gather_into_tensor(self._all.view(-1), self._own, group=self.group)
            gathered = self._all.cpu().numpy()
        if failure is not None:
            self._own[-1] = 0
            raise failure
        if gathered[:, -1].any():
            raise RankError(f"rank {int(gathered[:, -1].argmax())} failed")
        total = gathered[:, :-1].cumsum(axis=0)[-1]  # a cumulative sum keeps the order
        dtype = torch.float64 if self._wide else torch.float32
        return torch.tensor(self._finishing.distance(total.tolist()), dtype=dtype, device=self.device)

    @property
    def _wide(self) -> bool:
        return self.part.x.dtype == torch.float64

    @property
    def _finishing(self) -> Metric:
        return for_dtype(self.metric, self._wide)


@isolated
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


def shards(sources: tuple[Source, Source], group: Group) -> tuple[Source, Source]:
    """This rank's stretch of both vectors."""
    x, y = (source.part(*bounds(source.n, group.rank, group.size)) for source in sources)
    return x, y


def places(device_name: str, group: Group) -> str:
    """Which devices the ranks compute on, and on which hosts."""
    found = Counter(group.exchange(f"{device_name} on {platform.node()}"))
    return "; ".join(f"{count} × {place}" for place, count in found.items())


def copy_bandwidth_of(group: Group) -> str:
    """What `copy_bandwidth_gbps` is the rate of."""
    return f"{group.size} ranks that copy at the same time, the slowest counts"


def conditions(n: int, device_name: str, group: Group) -> dict[str, Scalar]:
    """Who computes what, for the record and the console."""
    devices = places(device_name, group)
    shard_n = -(-n // group.size)
    progress.say(f"{group.size} ranks, {devices}, {shard_n:.4g} elements of each vector on one at most")
    return {
        "ranks": group.size,
        "shard_n": shard_n,
        "rank_devices": devices,
        "rank_exchange": f"all_gather of float64 sums, {group.backend}",
        "latency_of": LATENCY_OF,
        "copy_bandwidth_of": copy_bandwidth_of(group),
    }


def agreed(value: float, group: Group) -> float:
    """`value`, once every rank has been found to have the same bits. Raises RankError."""
    found = [own.hex() for own in group.exchange(value)]
    if len(set(found)) > 1:
        raise RankError(f"the ranks disagree: {', '.join(found)}")
    return value
