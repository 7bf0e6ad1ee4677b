"""Exact search of rows that are spread over the ranks of a `torch.distributed` group, one stretch a rank.

Each rank finds the nearest of its own rows. The ranks exchange their float64 keys and row numbers, and every rank
chooses among them as a search at once does: by key, equal keys by the lower row number. So all get the same bits, and
those of one process that holds every row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from mlsys.distance.isolation import isolated
from mlsys.distance.metrics import Metric
from mlsys.distance.search.index import Index
from mlsys.distance.search.inputs import (
    checked_queries,
    checked_rows,
    given_back,
    nothing_found,
    result_dtype,
)
from mlsys.distance.search.ranking import ranking
from mlsys.distance.search.streamed import StreamedIndex
from mlsys.errors import UserError
from mlsys.ranks import RankError
from mlsys.ranks.torchrun import answered

FACTS = 4  # of a rank's rows: whether they cannot be searched, how many, how long, of which dtype
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8)


class ShardedIndex:
    """This rank's part of an index; every rank of the group makes one, and searches as often as the others.

    Args:
        rows: (n, d), this rank's; the first rank's rows come first. Ranks may hold different numbers of rows, also
            none: (0, d). Dim and dtype are the same on all. See `Index` for the rest.
        metric: see `search`.
        group: of `torch.distributed`; None: all ranks.
        index: makes what searches this rank's rows, an `Index` or a `StreamedIndex`.

    Raises:
        UserError: without a process group, for rows that do not fit together, and as `Index`; on the rank whose rows
            cannot be searched. The others then raise RankError.
    """

    @isolated
    def __init__(
        self,
        rows: Any,
        metric: str | Metric = "l2",
        group: Any = None,
        index: Callable[[torch.Tensor, str | Metric], Index | StreamedIndex] = Index,
    ) -> None:
        if not dist.is_initialized():
            raise UserError("a sharded index needs a process group: start with torchrun")
        self.group, self.ranking = group, ranking(metric)
        self.part: Index | StreamedIndex | None = None
        failure: Exception | None = None
        facts = [1, 0, 0, 0]
        try:
            self.rows = _shard(rows)
            self.part = index(self.rows, metric) if len(self.rows) else None
            facts = [0, *self.rows.shape, DTYPES.index(self.rows.dtype)]
        except Exception as error:
            failure = error
        self.device = _device(self.part, rows)
        gathered = self._gather(torch.tensor(facts, device=self.device)).tolist()
        if failure is not None:
            raise failure
        _check_alike(gathered)
        counts = [own[1] for own in gathered]
        self.before = sum(counts[: dist.get_rank(group)])  # rows of the ranks before this one
        self.shape = (sum(counts), self.rows.shape[1])
        if not self.shape[0]:
            raise UserError("no rank has a row to be searched")

    @property
    def method(self) -> str:
        """How this rank searches its rows; `none` where it has none."""
        return "none" if self.part is None else self.part.method

    @isolated
    def search(self, queries: Any, k: int) -> tuple[Any, Any]:
        """The k nearest of all ranks' rows to each of `queries` (Q, d): see `search`. Waits for the other ranks.

        Every rank passes the same queries and k, and gets the same answer; row numbers count through all ranks' rows.
        A rank whose part fails tells the others before it raises; they raise RankError.
        """
        wanted = checked_queries(queries, self.shape, k)
        if not len(wanted):
            return nothing_found(queries, wanted, self.rows, int(k))
        here = wanted.to(self.device)
        keys, index = self._merged(here, int(k))
        distances = self.ranking.finish(keys).to(result_dtype(wanted, self.rows))
        return given_back(queries, wanted, distances, index)

    def _merged(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys (Q, k) float64 and row numbers (Q, k) int64 of the nearest among all ranks' rows."""
        lines, count = len(queries), len(queries) * k
        own = torch.zeros(2 * count + 1, dtype=torch.int64, device=self.device)
        failure: Exception | None = None
        try:
            self._fill(own[:count].view(torch.float64).view(lines, k), own[count:-1].view(lines, k), queries)
        except Exception as error:
            failure = error
            own[-1] = 1
        gathered = self._gather(own)
        keys, index = (
            part.view(-1, lines, k).transpose(0, 1).flatten(1)
            for part in (gathered[:, :count], gathered[:, count:-1])
        )
        # ranks stand in the order of their rows, so a stable sort leaves equal keys by the lower row number
        keys, order = torch.sort(keys.view(torch.float64), dim=1, stable=True)
        index = index.gather(1, order[:, :k])
        failed = gathered[:, -1].tolist()  # waits for the GPU, which has everything to do by now
        if failure is not None:
            raise failure
        if any(failed):
            raise RankError(f"rank {failed.index(1)} failed")
        return keys[:, :k], index

    def _fill(self, keys: torch.Tensor, index: torch.Tensor, queries: torch.Tensor) -> None:
        """Put this rank's own nearest there; places that it does not fill hold nan, which sorts after every key."""
        few = min(keys.shape[1], len(self.rows))
        keys[:, few:] = torch.nan
        if self.part is not None:
            found, rows = self.part.keys(queries, few)
            keys[:, :few] = found
            torch.add(rows, self.before, out=index[:, :few])

    def _gather(self, own: torch.Tensor) -> torch.Tensor:
        """What every rank has, (ranks, len(own)) int64."""
        ranks = dist.get_world_size(self.group)
        everyone = torch.empty(ranks * len(own), dtype=own.dtype, device=own.device)
        with answered():
            dist.all_gather_into_tensor(everyone, own, group=self.group)
        return everyone.view(ranks, -1)


def _shard(rows: Any) -> torch.Tensor:
    """Rows (n, d), where n may be 0."""
    if isinstance(rows, torch.Tensor) and rows.dim() == 2 and not len(rows) and rows.dtype in DTYPES:
        return rows
    return checked_rows(rows)


def _device(part: Index | StreamedIndex | None, rows: Any) -> torch.device:
    """Where this rank searches and exchanges."""
    if isinstance(part, StreamedIndex):
        return part.device
    return rows.device if isinstance(rows, torch.Tensor) else torch.device("cpu")


def _check_alike(gathered: list[list[int]]) -> None:
    failed, _, dims, dtypes = ([own[column] for own in gathered] for column in range(FACTS))
    if any(failed):
        raise RankError(f"rank {failed.index(1)} failed")
    if len(set(dims)) > 1:
        raise UserError(f"rows of the ranks have different dims: {', '.join(map(str, dims))}")
    if len(set(dtypes)) > 1:
        names = [str(DTYPES[number]).removeprefix("torch.") for number in dtypes]
        raise UserError(f"rows of the ranks have different dtypes: {', '.join(names)}")
