"""The processes that torchrun started, and what they ask of each other; one process is the case without others.

Rank 0 leads: it alone runs Hydra, records and prints, and hands each job's configuration to the others, which build
the same workload and measure with it (`mlsys.run.follower`). `mlsys.ranks.torchrun` carries what they tell each
other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch.distributed as dist

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


class RankError(RuntimeError):
    """Another rank failed, and why."""


class LostRank(RankError):
    """Another rank does not answer."""


class Alone:
    """One process: nobody to wait for. What several do is in `rank_group.Ranks`.

    `data`: the group in which sums travel. `local_*`: among the ranks on this machine. `lost`: why no further job can
    be measured.
    """

    rank, size, local_rank, local_size = 0, 1, 0, 1
    backend = "none"
    lost: str | None = None
    data: dist.ProcessGroup | None = None

    def exchange(self, value: Any) -> list[Any]:
        """What every rank gives, in rank order. Raises on all ranks if one has failed."""
        return [value]

    def barrier(self) -> None:
        """Return when every rank has come here."""

    def slowest(self, times: list[float]) -> list[float]:
        """For each repeat the time of the rank that took longest."""
        return [max(column) for column in zip(*self.exchange(times), strict=True)]

    def total(self, values: list[float]) -> list[float]:
        """The sums over the ranks, added in rank order."""
        return [sum(column) for column in zip(*self.exchange(values), strict=True)]

    @contextmanager
    def job(self, config: dict[str, Any]) -> Iterator[None]:
        """A job in which every rank has its part; an error on one is raised on all."""
        yield

    def configurations(self) -> Iterator[dict[str, Any]]:
        """On the ranks that follow: the configuration of every job that rank 0 begins."""
        yield from ()

    @contextmanager
    def part(self) -> Iterator[None]:
        """On the ranks that follow: their part in a job."""
        yield

    def end(self) -> None:
        """Part."""


ALONE = Alone()
_here: list[Alone] = [ALONE]


def size() -> int:
    """How many ranks torchrun started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in VARIABLES) else 1


def rank() -> int:
    """Which of them this process is; 0 is the one that records and prints."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def here() -> Alone:
    """The ranks that this process is one of."""
    return _here[0]


@contextmanager
def together() -> Iterator[Alone]:
    """Join the ranks that torchrun started. At the end, but for an interrupt, rank 0 lets the others go."""
    if size() == 1:
        yield ALONE
        return
    from mlsys.ranks.torchrun import Ranks

    joined, interrupted = Ranks(), False
    _here[:] = [joined]
    try:
        yield joined
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        if not interrupted:
            joined.end()
