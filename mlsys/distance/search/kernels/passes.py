"""The search on a GPU: a few kernels for a block of queries, and word of the queries they cannot vouch for.

A block's rows are scored once. From the scores' group maxima the groups are chosen whose rows are recomputed: few ones
one after the other (`settle`), many at once (`many`). A line in doubt gets a second choice, of more
groups from the same maxima, before anybody reads all rows again.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import torch

from mlsys.distance.search.blocks.cityblock import MaximumScorer
from mlsys.distance.search.blocks.scores import ProductScorer
from mlsys.distance.search.kernels import direct, many, settle
from mlsys.distance.search.kernels.choosing import WARPS, choose, choose_many, slots_for, warps_for
from mlsys.distance.search.kernels.found import Nearest, Scored
from mlsys.distance.search.kernels.launch import compiled, kinds, placed
from mlsys.distance.search.kernels.maxima import CityblockMaxima, ProductMaxima
from mlsys.distance.search.kernels.rescore import in_units
from mlsys.distance.search.kernels.screen import ScreenMaxima
from mlsys.distance.search.kernels.tiles import (
    MOST_NEIGHBOURS,
    Tile,
    first_again,
    groups_screened,
    groups_taken,
    is_many,
    is_screened,
    key_cut,
    second_choices,
    smaller_groups,
)

WORKSPACE_BYTES = 1 << 30
MOST_ROWS = 2**31 - 1
KEY_BYTES = 8  # of a candidate
ORDERED = 64  # neighbours that a program puts in order, and how many it looks at at once
MOST_CANDIDATES = 32_768  # rows among which one program chooses
SORTED = 128  # more are sorted
MEMORY = 64  # queries over which doubt is remembered

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
        """How many of the queries to search at once: within the workspace, their elements counted in 32 bits."""
        most = WORKSPACE_BYTES // self.query_bytes(queries, k)
        return max(1, min(most, MOST_ROWS // 2 // self.rows.shape[1]))

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
            tile, scoring.small_tile(), queries, self._taken(queries, k), len(rows), row_bytes
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

    def warm(self, queries: torch.Tensor, k: int) -> None:
        """Compile what searches of queries like these (Q, d) may take: also where their lines are in doubt."""
        closer = copy(self)
        closer.close = True
        for search in (self, closer):
            found = search.nearest(queries, k)
            for _ in search.second(found, torch.arange(len(queries), device=queries.device), k):
                pass

    def _many(self, scored: Scored, k: int, taken: int, status: torch.Tensor) -> Nearest:
        queries, tile, groups = scored.queries, scored.tile, scored.maxima.shape[1]
        count, dim = queries.shape
        chosen, cut = choose_many(scored.maxima, taken)
        slots = chosen.shape[1]
        keys = self.group_keys(queries, chosen, tile)
        found = Nearest.empty(scored, k, taken, status)
        bits = (k - 1).bit_length() if k > SORTED else 0
        room, size = 1 << bits if bits else SORTED, slots_for(slots) << tile.member_bits
        some, rows = found.keys.new_empty(count, room), found.index.new_empty(count, room)
        of_queries = (*kinds(queries, self.rows)[:2], scored.cast.dtype)
        out = found.keys, found.distances, found.index, status
        proof, held = (scored.limits, queries, scored.cast), (slots, k, tile.class_bits, tile.member_bits)
        shape = {"ROOM": room, "BLOCK": ORDERED, "METRIC": self.metric}
        if not bits:
            kernel = compiled(many.nearest_rows, warps_for(size), of_queries, SIZE=size, **shape)
            counts = len(self.rows), dim, groups, taken, *held
            kernel.bind(count, keys, cut, chosen, *proof, some, rows, *out, *counts)()
            return found
        lowest = compiled(many.lowest_rows, warps_for(size), kinds(keys, keys), SIZE=size, ROOM=room)
        lowest.bind(count, keys, chosen, some, rows, len(self.rows), *held)()
        ordering = compiled(many.sorted_rows, warps_for(8 * room), of_queries, BITS=bits, **shape)
        ordering.bind(count, cut, some, rows, *proof, *out, dim, groups, taken, k)()
        return found

    def group_keys(self, queries: torch.Tensor, chosen: torch.Tensor, tile: Tile) -> torch.Tensor:
        """Keys (Q, m, members) float64 of all rows of the chosen groups (Q, m)."""
        (count, m), dim, members = chosen.shape, queries.shape[1], 1 << tile.member_bits
        units, unit = in_units(dim)
        keys = torch.empty(count, m, members, dtype=torch.float64, device=queries.device)
        pairs, step, warps = key_cut(self.metric, dim, self.rows.itemsize)
        kernel = compiled(
            direct.group_keys, warps, kinds(queries, self.rows),
            UNIT=unit, PAIRS=pairs, BK=step, ONE=dim <= step, METRIC=self.metric,
        )  # fmt: skip
        counts = len(self.rows), units, m, tile.class_bits, tile.member_bits
        kernel.bind(count * -(-m * members // pairs), keys, chosen, queries, self.rows, *counts)()
        return keys

    def nearest_rows(
        self, scored: Scored, chosen: torch.Tensor, cut: torch.Tensor, keys: torch.Tensor, k: int, status: torch.Tensor
    ) -> Nearest:  # fmt: skip
        """The k best of the keys (Q, m, members) of the chosen groups (Q, m)."""
        queries, cast, tile = scored.queries, scored.cast, scored.tile
        (count, m, members), (groups, dim) = keys.shape, (scored.maxima.shape[1], queries.shape[1])
        found = Nearest.empty(scored, k, m, status)
        kernel = compiled(
            settle.nearest_rows, WARPS, (*kinds(queries, self.rows)[:2], cast.dtype),
            SIZE=slots_for(m) * members, METRIC=self.metric,
        )  # fmt: skip
        out = (found.keys, found.distances, found.index, found.status)
        counts = len(self.rows), dim, groups, m, k, tile.class_bits, tile.member_bits
        kernel.bind(count, keys, cut, chosen, scored.limits, queries, cast, *out, *counts)()
        return found
