"""A group of ranks, and one process as the group that has no others."""

from __future__ import annotations

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


class Group:
    """One process: nobody to wait for. What several do is in `rank_group.TorchrunGroup`.

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


SINGLE = Group()
