"""The search on a GPU: four kernels for a block of queries, and word of the queries they cannot vouch for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mlsys.distance.search.blocks.cityblock import MaximumScorer
from mlsys.distance.search.blocks.scores import ProductScorer
from mlsys.distance.search.kernels import direct, settle
from mlsys.distance.search.kernels.launch import compiled, kinds, placed
from mlsys.distance.search.kernels.maxima import CityblockMaxima, ProductMaxima
from mlsys.distance.search.kernels.rescore import block, power_of_two
from mlsys.distance.search.kernels.tiles import MOST_NEIGHBOURS, Tile, groups_taken

WORKSPACE_BYTES = 1 << 30
MOST_ROWS = 2**31 - 1
WARPS = 4


@dataclass(frozen=True)
class Nearest:
    """What the kernels found, (Q, k): float64 keys, see `ranking`, float32 distances, int64 row numbers.

    Where `status` (Q,) is not 0 the line is not certain. The kernels write it into the host's memory: read it after
    the stream has been waited for.
    """

    keys: torch.Tensor
    distances: torch.Tensor
    index: torch.Tensor
    status: torch.Tensor


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
        """Whether the kernels take these queries: no float64, few neighbours."""
        wide = torch.float64 in (queries.dtype, self.rows.dtype)
        return not wide and k <= MOST_NEIGHBOURS and len(self.rows) <= MOST_ROWS

    def most_queries(self, queries: int, k: int) -> int:
        """How many of the queries to search at once within the workspace."""
        return max(1, WORKSPACE_BYTES // self.query_bytes(queries, k))

    def query_bytes(self, queries: int, k: int) -> int:
        """Workspace that one of so many queries takes."""
        tile = self.scoring.tile(queries)
        members = tile.BN // tile.CLASSES
        taken = groups_taken(k, self.rows.dtype, self.metric)
        return 4 * (-(-len(self.rows) // members)) + 8 * taken * members

    def nearest(
        self, queries: torch.Tensor, k: int, tile: Tile | None = None, status: torch.Tensor | None = None
    ) -> Nearest:
        """Enqueue the search of queries (Q, d) on the current stream; `status` (Q,) int32, page-locked, if given."""
        count = len(queries)
        tile = tile or self.scoring.tile(count)
        queries = placed(queries)
        cast = self.scoring.cast(queries)
        maxima = self.scoring.launch(cast, tile)
        taken = min(groups_taken(k, self.rows.dtype, self.metric), maxima.shape[1])
        chosen, cut = choose(maxima, taken)
        keys = self.group_keys(queries, chosen, tile)
        if status is None:
            status = torch.empty(count, dtype=torch.int32, pin_memory=queries.is_cuda)
        return self.nearest_rows(
            queries, cast, chosen, cut, keys, k, tile, status, covered=taken == maxima.shape[1]
        )

    def group_keys(self, queries: torch.Tensor, chosen: torch.Tensor, tile: Tile) -> torch.Tensor:
        """Keys (Q, m, members) float64 of all rows of the chosen groups (Q, m)."""
        count, m = chosen.shape
        keys = torch.empty(count, m, tile.BN // tile.CLASSES, dtype=torch.float64, device=queries.device)
        shape = self._shape(queries, tile)
        kernel = compiled(direct.group_keys, WARPS, kinds(queries, self.rows), M=m, **shape)
        kernel.bind(count * m, keys, chosen, queries, self.rows, len(self.rows))()
        return keys

    def nearest_rows(
        self, queries: torch.Tensor, cast: torch.Tensor, chosen: torch.Tensor, cut: torch.Tensor, keys: torch.Tensor,
        k: int, tile: Tile, status: torch.Tensor, covered: bool,
    ) -> Nearest:  # fmt: skip
        """The k best of the keys; `covered` where they are of all groups there are."""
        count, m, members = keys.shape
        best = Nearest(
            keys.new_empty(count, k),
            cut.new_empty(count, k),
            torch.empty(count, k, dtype=torch.int64, device=keys.device),
            status,
        )
        kernel = compiled(
            settle.nearest_rows, WARPS, (*kinds(queries, self.rows)[:2], cast.dtype),
            M=m, K=k, SIZE=power_of_two(m * members), COVERED=covered, **self._shape(queries, tile),
        )  # fmt: skip
        out = (best.keys, best.distances, best.index, best.status)
        kernel.bind(count, keys, cut, chosen, self.scoring.limits, queries, cast, *out, len(self.rows))()
        return best

    def _shape(self, queries: torch.Tensor, tile: Tile) -> dict[str, int | str]:
        dim = queries.shape[1]
        return {"D": dim, "BN": tile.BN, "CLASSES": tile.CLASSES, "BK": block(dim), "METRIC": self.metric}


def choose(maxima: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The m best groups (Q, m) of maxima (Q, groups) and the cut (Q,) that no other group is above."""
    count, groups = maxima.shape
    chosen = torch.empty(count, m, dtype=torch.int32, device=maxima.device)
    cut = maxima.new_empty(count)
    slots = power_of_two(m)
    width = max(slots, min(8192, max(256, power_of_two(math.isqrt(groups * m)))))
    kernel = compiled(
        settle.best_groups, WARPS, kinds(maxima, maxima),
        M=m, SLOTS=slots, WIDTH=width, FOLD=power_of_two(-(-groups // width)), DEPTH=max(1, 8192 // width),
    )  # fmt: skip
    kernel.bind(count, maxima, cut, chosen, groups)()
    return chosen, cut
