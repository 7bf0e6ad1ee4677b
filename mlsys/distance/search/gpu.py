"""The search on a GPU: four kernels for a block of queries, and word of the queries they cannot vouch for."""

from __future__ import annotations

import math

import torch

from mlsys.distance.search import kernels_settle
from mlsys.distance.search.cityblock import MaximumScorer
from mlsys.distance.search.direct import block, power_of_two
from mlsys.distance.search.maxima import CityblockMaxima, ProductMaxima
from mlsys.distance.search.scores import ProductScorer
from mlsys.distance.search.settings import MOST_NEIGHBOURS, Tile, groups_taken

WORKSPACE_BYTES = 1 << 30


class KernelSearch:
    """Searches rows (N, d) on their device. l1 keeps a transposed copy of them."""

    def __init__(self, rows: torch.Tensor, metric: str, scorer: ProductScorer | MaximumScorer) -> None:
        self.rows, self.metric = rows, metric
        self.scoring: ProductMaxima | CityblockMaxima
        if isinstance(scorer, MaximumScorer):
            self.scoring = CityblockMaxima(scorer)
        else:
            self.scoring = ProductMaxima(scorer)

    def can(self, queries: torch.Tensor, k: int) -> bool:
        """Whether the kernels take these queries: not in float64, few neighbours."""
        return torch.float64 not in (queries.dtype, self.rows.dtype) and k <= MOST_NEIGHBOURS

    def most_queries(self, queries: int, k: int) -> int:
        """How many of the queries to search at once within the workspace."""
        tile = self.scoring.tile(queries)
        members = tile.BN // tile.CLASSES
        taken = groups_taken(k, self.rows.dtype, self.metric)
        each = 4 * (-(-len(self.rows) // members)) + 8 * taken * members
        return max(1, WORKSPACE_BYTES // each)

    def nearest(
        self, queries: torch.Tensor, k: int, tile: Tile | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Keys (Q, k) float64, rows (Q, k) and status (Q,): where that is not 0 the line is not certain.

        The kernels write the status into the host's memory: read it after the stream has been waited for.
        """
        count, dim = queries.shape
        tile = tile or self.scoring.tile(count)
        cast = self.scoring.cast(queries)
        maxima = self.scoring.launch(cast, tile)
        taken = min(groups_taken(k, self.rows.dtype, self.metric), maxima.shape[1])
        chosen, cut = _choose(maxima, taken)
        m, members = chosen.shape[1], tile.BN // tile.CLASSES
        keys = torch.empty(count, m * members, dtype=torch.float64, device=queries.device)
        shape = {"D": dim, "BN": tile.BN, "CLASSES": tile.CLASSES, "BK": block(dim), "METRIC": self.metric}
        kernels_settle.group_keys[(count * m,)](queries, self.rows, chosen, keys, len(self.rows), m, **shape)
        best = keys.new_empty(count, k)
        index = torch.empty(count, k, dtype=torch.int64, device=queries.device)
        status = torch.empty(count, dtype=torch.int32, pin_memory=queries.is_cuda)
        kernels_settle.nearest_rows[(count,)](
            queries, cast, chosen, cut, keys, best, index, status,
            len(self.rows), self.scoring.shortest, self.scoring.longest, self.scoring.tolerance,
            M=m, K=k, SIZE=power_of_two(m * members), COVERED=taken == maxima.shape[1], **shape,
        )  # fmt: skip
        return best, index, status


def _choose(maxima: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The m best groups (Q, m) and the cut (Q,) that no other group is above."""
    count, groups = maxima.shape
    chosen = torch.empty(count, m, dtype=torch.int32, device=maxima.device)
    cut = maxima.new_empty(count)
    slots = power_of_two(m)
    width = max(slots, min(8192, max(256, power_of_two(math.isqrt(groups * m)))))
    fold = power_of_two(-(-groups // width))
    kernels_settle.best_groups[(count,)](
        maxima, chosen, cut, groups, M=m, SLOTS=slots, WIDTH=width, FOLD=fold, DEPTH=max(1, 8192 // width)
    )
    return chosen, cut
