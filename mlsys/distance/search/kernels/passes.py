"""The search on a GPU: a few kernels for a block of queries, and word of the queries they cannot vouch for.

A block's rows are scored once. From the scores' group maxima the groups are chosen whose rows are recomputed: few ones
one after the other (`settle`), many at once (`many`). A line in doubt gets a second choice, of more
groups from the same maxima, before anybody reads all rows again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from mlsys.distance.search.blocks.cityblock import MaximumScorer
from mlsys.distance.search.blocks.scores import ProductScorer
from mlsys.distance.search.kernels import direct, many, settle
from mlsys.distance.search.kernels.choosing import WARPS, choose, choose_many, warps_for
from mlsys.distance.search.kernels.launch import compiled, kinds, placed
from mlsys.distance.search.kernels.maxima import CityblockMaxima, ProductMaxima
from mlsys.distance.search.kernels.rescore import block, power_of_two
from mlsys.distance.search.kernels.tiles import (
    MOST_NEIGHBOURS,
    Tile,
    first_again,
    groups_taken,
    is_many,
    second_choices,
    smaller_groups,
)

WORKSPACE_BYTES = 1 << 30
MOST_ROWS = 2**31 - 1
KEY_BYTES = 8  # of a candidate
ORDERED = 64  # neighbours that a program puts in order, and how many it looks at at once
MEMORY = 64  # queries over which doubt is remembered


@dataclass(frozen=True)
class Scored:
    """Queries (Q, d), what they were cast to, and their group maxima (Q, groups) float32."""

    queries: torch.Tensor
    cast: torch.Tensor
    maxima: torch.Tensor
    tile: Tile

    def lines(self, lines: torch.Tensor) -> Scored:
        """Of some of the queries, by their numbers (n,) int64."""
        return Scored(self.queries[lines], self.cast[lines], self.maxima[lines], self.tile)


@dataclass(frozen=True)
class Nearest:
    """What the kernels found, (Q, k): float64 keys, see `ranking`, float32 distances, int64 row numbers.

    Where `status` (Q,) is not 0 the line is not certain. The kernels write it into the host's memory: read it after
    the stream has been waited for. `scored` is what it was found from, `taken` groups of each line.
    """

    keys: torch.Tensor
    distances: torch.Tensor
    index: torch.Tensor
    status: torch.Tensor
    scored: Scored
    taken: int


class KernelSearch:
    """Searches rows (N, d) on their device. l1 keeps a transposed copy of them.

    `close` becomes true where most of the lines of late had many rows as near as their neighbours, so that the first
    choice was not enough: then more and smaller groups are looked into at once.
    """

    def __init__(self, rows: torch.Tensor, metric: str, scorer: ProductScorer | MaximumScorer) -> None:
        self.rows, self.metric = rows, metric
        self.doubt, self.close = 0.0, False
        self.scoring: ProductMaxima | CityblockMaxima
        if isinstance(scorer, MaximumScorer):
            self.scoring = CityblockMaxima(scorer)
        else:
            self.scoring = ProductMaxima(scorer)

    def can(self, queries: torch.Tensor, k: int) -> bool:
        """Whether the kernels take these queries: no float64, not all too many neighbours."""
        wide = torch.float64 in (queries.dtype, self.rows.dtype)
        return not wide and k <= MOST_NEIGHBOURS and len(self.rows) <= MOST_ROWS

    def most_queries(self, queries: int, k: int) -> int:
        """How many of the queries to search at once within the workspace."""
        return max(1, WORKSPACE_BYTES // self.query_bytes(queries, k))

    def query_bytes(self, queries: int, k: int) -> int:
        """Workspace that one of so many queries takes."""
        tile = self.tile(queries, k)
        members = tile.BN // tile.CLASSES
        return 4 * (-(-len(self.rows) // members)) + KEY_BYTES * members * self._taken(k)

    def tile(self, queries: int, k: int) -> Tile:
        """The cut for so many queries and neighbours."""
        tile, rows = self.scoring.tile(queries), self.rows
        if not self._at_once(k):
            return tile
        return smaller_groups(tile, self._taken(k), len(rows), rows.shape[1] * rows.dtype.itemsize)

    def _at_once(self, k: int) -> bool:
        return self.close or is_many(k, self.metric, self.rows.shape[1])

    def _taken(self, k: int) -> int:
        taken = groups_taken(k, self.rows.dtype, self.metric)
        return first_again(taken) if self.close else taken

    def learn(self, doubtful: int, count: int) -> None:
        """A search of `count` lines left so many in doubt at its first choice."""
        self.doubt += (doubtful / count - self.doubt) * count / (count + MEMORY)
        self.close = self.close or self.doubt > 0.5

    def nearest(
        self, queries: torch.Tensor, k: int, tile: Tile | None = None, status: torch.Tensor | None = None
    ) -> Nearest:
        """Enqueue the search of queries (Q, d) on the current stream; `status` (Q,) int32, page-locked, if given."""
        tile = tile or self.tile(len(queries), k)
        queries = placed(queries)
        cast = self.scoring.cast(queries)
        scored = Scored(queries, cast, self.scoring.launch(cast, tile), tile)
        return self.settled(scored, k, self._taken(k), status)

    def settled(
        self, scored: Scored, k: int, taken: int, status: torch.Tensor | None = None, at_once: bool = False
    ) -> Nearest:
        """The k nearest in the best `taken` groups of each line; `at_once`: chosen as for many neighbours."""
        queries, groups = scored.queries, scored.maxima.shape[1]
        taken = min(taken, groups)
        if status is None:
            status = torch.empty(len(queries), dtype=torch.int32, pin_memory=queries.is_cuda)
        if at_once or self._at_once(k):
            return self._many(scored, k, taken, status)
        chosen, cut = choose(scored.maxima, taken)
        keys = self.group_keys(queries, chosen, scored.tile)
        return self.nearest_rows(scored, chosen, cut, keys, k, status)

    def second(self, found: Nearest, lines: torch.Tensor, k: int) -> Iterator[tuple[torch.Tensor, Nearest]]:
        """Lines in doubt, (n,) int64, from more of their groups: which of them are certain now, and what they are."""
        groups = found.scored.maxima.shape[1]
        for taken in second_choices(found.taken, groups):
            if not len(lines):
                return
            members = found.scored.tile.BN // found.scored.tile.CLASSES
            left = []
            for some in lines.split(max(1, WORKSPACE_BYTES // (KEY_BYTES * members * taken))):
                again = self.settled(found.scored.lines(some), k, taken, at_once=True)
                if some.is_cuda:
                    torch.cuda.current_stream(some.device).synchronize()
                yield some, again
                left.append(some[again.status.to(some.device) != 0])
            lines = torch.cat(left)

    def _many(self, scored: Scored, k: int, taken: int, status: torch.Tensor) -> Nearest:
        queries, tile, metric = scored.queries, scored.tile, self.metric
        count, members = len(queries), tile.BN // tile.CLASSES
        chosen, cut = choose_many(scored.maxima, taken)
        keys = self.group_keys(queries, chosen, tile)
        some, rows = keys.new_empty(count, k), torch.empty(count, k, dtype=torch.int64, device=keys.device)
        found = Nearest(
            torch.empty_like(some), cut.new_empty(count, k), torch.empty_like(rows), status, scored, taken
        )
        of_keys, size = kinds(keys, keys), power_of_two(taken * members)
        shape = {"M": taken, "K": k, "BN": tile.BN, "CLASSES": tile.CLASSES, "SIZE": size}
        lowest = compiled(many.lowest_keys, warps_for(size), of_keys, **shape)
        lowest.bind(count, keys, chosen, some, rows, len(self.rows))()
        order = compiled(many.in_order, WARPS, of_keys, K=k, BLOCK=ORDERED, TILE=ORDERED, METRIC=metric)
        order.bind(count * -(-k // ORDERED), some, rows, found.keys, found.index, found.distances)()
        proof = compiled(
            many.proved, WARPS, (*kinds(queries, self.rows)[:2], scored.cast.dtype),
            K=k, COVERED=taken == scored.maxima.shape[1], **self._shape(queries, tile),
        )  # fmt: skip
        proof.bind(count, found.keys, cut, self.scoring.limits, queries, scored.cast, status)()
        return found

    def group_keys(self, queries: torch.Tensor, chosen: torch.Tensor, tile: Tile) -> torch.Tensor:
        """Keys (Q, m, members) float64 of all rows of the chosen groups (Q, m)."""
        count, m = chosen.shape
        keys = torch.empty(count, m, tile.BN // tile.CLASSES, dtype=torch.float64, device=queries.device)
        shape = self._shape(queries, tile)
        kernel = compiled(direct.group_keys, WARPS, kinds(queries, self.rows), M=m, **shape)
        kernel.bind(count * m, keys, chosen, queries, self.rows, len(self.rows))()
        return keys

    def nearest_rows(
        self, scored: Scored, chosen: torch.Tensor, cut: torch.Tensor, keys: torch.Tensor, k: int, status: torch.Tensor
    ) -> Nearest:  # fmt: skip
        """The k best of the keys (Q, m, members) of the chosen groups (Q, m)."""
        queries, cast, tile = scored.queries, scored.cast, scored.tile
        count, m, members = keys.shape
        index = torch.empty(count, k, dtype=torch.int64, device=keys.device)
        found = Nearest(keys.new_empty(count, k), cut.new_empty(count, k), index, status, scored, m)
        kernel = compiled(
            settle.nearest_rows, WARPS, (*kinds(queries, self.rows)[:2], cast.dtype),
            M=m, K=k, SIZE=power_of_two(m * members), COVERED=m == scored.maxima.shape[1],
            **self._shape(queries, tile),
        )  # fmt: skip
        out = (found.keys, found.distances, found.index, found.status)
        kernel.bind(count, keys, cut, chosen, self.scoring.limits, queries, cast, *out, len(self.rows))()
        return found

    def _shape(self, queries: torch.Tensor, tile: Tile) -> dict[str, int | str]:
        dim = queries.shape[1]
        return {"D": dim, "BN": tile.BN, "CLASSES": tile.CLASSES, "BK": block(dim), "METRIC": self.metric}
