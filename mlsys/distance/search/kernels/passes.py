"""The search on a GPU: a few kernels for a block of queries, and word of the queries they cannot vouch for.

A block's rows are scored once. From the scores' group maxima the groups are chosen whose rows are recomputed: few ones
one after the other (`settle`), many at once (`many`). A line in doubt gets a second choice, of more
groups from the same maxima, before anybody reads all rows again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from mlsys.distance.search.blocks.cityblock import MaximumScorer
from mlsys.distance.search.blocks.scores import ProductScorer
from mlsys.distance.search.kernels import direct, many, settle
from mlsys.distance.search.kernels.choosing import WARPS, choose, choose_many, warps_for
from mlsys.distance.search.kernels.found import Nearest, Scored
from mlsys.distance.search.kernels.launch import compiled, kinds, placed
from mlsys.distance.search.kernels.maxima import CityblockMaxima, ProductMaxima
from mlsys.distance.search.kernels.rescore import block, power_of_two
from mlsys.distance.search.kernels.screen import ScreenMaxima
from mlsys.distance.search.kernels.tiles import (
    MOST_NEIGHBOURS,
    Tile,
    first_again,
    groups_screened,
    groups_taken,
    is_many,
    is_screened,
    pairs_at_once,
    second_choices,
    smaller_groups,
)

WORKSPACE_BYTES = 1 << 30
MOST_ROWS = 2**31 - 1
KEY_BYTES = 8  # of a candidate
ORDERED = 64  # neighbours that a program puts in order, and how many it looks at at once
MOST_CANDIDATES = 32_768  # rows among which one program chooses
RANKED = 128  # more are sorted first
MEMORY = 64  # queries over which doubt is remembered
SMALL = 64  # queries whose tile is small

Scoring = Any  # ProductMaxima, CityblockMaxima or ScreenMaxima


class KernelSearch:
    """Searches rows (N, d) on their device. l1 keeps a transposed copy of them.

    screen: keep an int8 copy of the rows as well and score with it where that is faster, see `is_screened`.

    `close` becomes true where most of the lines of late had many rows as near as their neighbours, so that the first
    choice was not enough: then more and smaller groups are looked into at once.
    """

    def __init__(
        self, rows: torch.Tensor, metric: str, scorer: ProductScorer | MaximumScorer, screen: bool = False
    ) -> None:
        self.rows, self.metric = rows, metric
        self.doubt, self.close = 0.0, False
        self.scoring: Scoring
        self.screen: ScreenMaxima | None = None
        if isinstance(scorer, MaximumScorer):
            self.scoring = CityblockMaxima(scorer)
        else:
            self.scoring = ProductMaxima(scorer)
            self.screen = ScreenMaxima(scorer) if screen else None

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
        return 4 * (-(-len(self.rows) // members)) + KEY_BYTES * members * self._taken(queries, k)

    def tile(self, queries: int, k: int) -> Tile:
        """The cut for so many queries and neighbours."""
        scoring, rows = self._scoring(queries, k), self.rows
        tile: Tile = scoring.tile(queries)
        if not self._at_once(queries, k):
            return tile
        row_bytes = rows.shape[1] * rows.dtype.itemsize
        return smaller_groups(
            tile, scoring.tile(SMALL), queries, self._taken(queries, k), len(rows), row_bytes
        )

    def _scoring(self, queries: int, k: int) -> Scoring:
        screened = self.screen is not None and is_screened(queries, k, self.rows.dtype.itemsize)
        return self.screen if screened else self.scoring

    def _at_once(self, queries: int, k: int) -> bool:
        many = self.close or is_many(k, self.metric, self.rows.shape[1])
        return many or self._scoring(queries, k) is self.screen

    def _taken(self, queries: int, k: int) -> int:
        dim = self.rows.shape[1]
        if self._scoring(queries, k) is self.screen:
            taken = groups_screened(k, dim, queries)
        else:
            taken = groups_taken(k, self.rows.dtype, self.metric, dim)
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
        queries, scoring = placed(queries), self._scoring(len(queries), k)
        given, cast = scoring.prepare(queries)
        scored = Scored(queries, cast, scoring.launch(given, tile), tile, scoring.limits)
        return self.settled(scored, k, self._taken(len(queries), k), status)

    def settled(
        self, scored: Scored, k: int, taken: int, status: torch.Tensor | None = None, at_once: bool = False
    ) -> Nearest:
        """The k nearest in the best `taken` groups of each line; `at_once`: chosen as for many neighbours."""
        queries, groups = scored.queries, scored.maxima.shape[1]
        taken = min(taken, groups)
        if status is None:
            status = torch.empty(len(queries), dtype=torch.int32, pin_memory=queries.is_cuda)
        if at_once or self._at_once(len(queries), k):
            return self._many(scored, k, taken, status)
        chosen, cut = choose(scored.maxima, taken)
        keys = self.group_keys(queries, chosen, scored.tile)
        return self.nearest_rows(scored, chosen, cut, keys, k, status)

    def second(self, found: Nearest, lines: torch.Tensor, k: int) -> Iterator[tuple[torch.Tensor, Nearest]]:
        """Lines in doubt, (n,) int64, from more of their groups: which of them are certain now, and what they are."""
        groups = found.scored.maxima.shape[1]
        members = found.scored.tile.BN // found.scored.tile.CLASSES
        for taken in second_choices(found.taken, groups):
            if not len(lines) or taken * members > MOST_CANDIDATES:
                return
            left = []
            for some in lines.split(max(1, WORKSPACE_BYTES // (KEY_BYTES * members * taken))):
                again = self.settled(found.scored.lines(some), k, taken, at_once=True)
                if some.is_cuda:
                    torch.cuda.current_stream(some.device).synchronize()
                yield some, again
                left.append(some[again.status.to(some.device) != 0])
            lines = torch.cat(left)

    def _many(self, scored: Scored, k: int, taken: int, status: torch.Tensor) -> Nearest:
        queries, tile, groups = scored.queries, scored.tile, scored.maxima.shape[1]
        count, members = len(queries), tile.BN // tile.CLASSES
        chosen, cut = choose_many(scored.maxima, taken)
        slots = chosen.shape[1]
        keys = self.group_keys(queries, chosen, tile)
        found = Nearest.empty(scored, k, taken, status)
        some, rows = torch.empty_like(found.keys), torch.empty_like(found.index)
        of_keys, size = kinds(keys, keys), power_of_two(slots * members)
        shape = {"M": slots, "K": k, "BN": tile.BN, "CLASSES": tile.CLASSES, "SIZE": size}
        lowest = compiled(many.lowest_keys, warps_for(size), of_keys, **shape)
        lowest.bind(count, keys, chosen, some, rows, len(self.rows))()
        programs, order = count * -(-k // ORDERED), chosen.new_empty(count, k)
        bits = (k - 1).bit_length() if k > RANKED else 0
        if bits:
            ranking = compiled(many.ranked, warps_for(2 << bits), of_keys, K=k, ROOM=1 << bits, BITS=bits)
            ranking.bind(count, some, order)()
        ordering = compiled(
            many.in_order, WARPS, (*kinds(queries, self.rows)[:2], scored.cast.dtype),
            K=k, BLOCK=ORDERED, BITS=bits, COVERED=taken == groups, **self._shape(queries, tile),
        )  # fmt: skip
        out = (found.keys, found.index, found.distances, status)
        ordering.bind(programs, some, rows, order, cut, scored.limits, queries, scored.cast, *out)()
        return found

    def group_keys(self, queries: torch.Tensor, chosen: torch.Tensor, tile: Tile) -> torch.Tensor:
        """Keys (Q, m, members) float64 of all rows of the chosen groups (Q, m)."""
        (count, m), members = chosen.shape, tile.BN // tile.CLASSES
        keys = torch.empty(count, m, members, dtype=torch.float64, device=queries.device)
        pairs = pairs_at_once(self.metric, queries.shape[1])
        shape = self._shape(queries, tile)
        kernel = compiled(direct.group_keys, WARPS, kinds(queries, self.rows), M=m, PAIRS=pairs, **shape)
        kernel.bind(count * -(-m * members // pairs), keys, chosen, queries, self.rows, len(self.rows))()
        return keys

    def nearest_rows(
        self, scored: Scored, chosen: torch.Tensor, cut: torch.Tensor, keys: torch.Tensor, k: int, status: torch.Tensor
    ) -> Nearest:  # fmt: skip
        """The k best of the keys (Q, m, members) of the chosen groups (Q, m)."""
        queries, cast, tile = scored.queries, scored.cast, scored.tile
        count, m, members = keys.shape
        found = Nearest.empty(scored, k, m, status)
        kernel = compiled(
            settle.nearest_rows, WARPS, (*kinds(queries, self.rows)[:2], cast.dtype),
            M=m, K=k, SIZE=power_of_two(m * members), COVERED=m == scored.maxima.shape[1],
            **self._shape(queries, tile),
        )  # fmt: skip
        out = (found.keys, found.distances, found.index, found.status)
        kernel.bind(count, keys, cut, chosen, scored.limits, queries, cast, *out, len(self.rows))()
        return found

    def _shape(self, queries: torch.Tensor, tile: Tile) -> dict[str, int | str]:
        dim = queries.shape[1]
        return {"D": dim, "BN": tile.BN, "CLASSES": tile.CLASSES, "BK": block(dim), "METRIC": self.metric}
