"""What changes from step to step, laid out as one array of whole numbers: a single copy takes it to the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from mlsys.rag.generator.slot_kernels import TILE

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens `ids` for a slot that holds `start`; `last`: the sequence's next token is wanted."""

    slot: int
    start: int
    ids: Sequence[int]
    last: bool

    @property
    def size(self) -> int:
        """Rows that it takes: its tokens in whole tiles."""
        return -(-len(self.ids) // TILE) * TILE


class Layout:
    """`rows` tokens written, then `tokens` of prompts in tiles; `none` is the slot of what is left over.

    `places`: the slice of each part. `ids` of prompts; of each token its `slots` and `positions`; of each tile its
    slot, first position and how many tokens it has; `keep`: the tokens that give a next one; `given`: the slots that
    get it.
    """

    def __init__(self, rows: int, tokens: int, none: int) -> None:
        self.rows, self.tokens, self.tiles = rows, tokens, tokens // TILE
        self.gives = rows + min(self.tiles, none)
        sizes = {
            "ids": tokens,
            "slots": rows + tokens,
            "positions": rows + tokens,
            "tile_slots": self.tiles,
            "tile_firsts": self.tiles,
            "tile_counts": self.tiles,
            "keep": self.gives,
            "given": self.gives,
        }
        self.places: dict[str, slice] = {}
        self.size = 0
        for name, size in sizes.items():
            self.places[name] = slice(self.size, self.size + size)
            self.size += size
        self._blank = np.zeros(self.size, dtype=np.int64)
        for name in ("slots", "tile_slots", "given"):
            self._blank[self.places[name]] = none

    def pack(
        self, writes: Sequence[int], positions: Sequence[int], pieces: Sequence[Piece]
    ) -> tuple[Numbers, dict[int, int]]:
        """The array, and which row of what is given belongs to which slot."""
        packed = self._blank.copy()
        part = {name: packed[place] for name, place in self.places.items()}
        count = len(writes)
        part["slots"][:count], part["positions"][:count] = writes, positions
        part["keep"][:count], part["given"][:count] = np.arange(count), writes
        rows = {slot: row for row, slot in enumerate(writes)}
        if pieces:
            rows |= self._place(part, pieces)
        return packed, rows

    def _place(self, part: dict[str, Numbers], pieces: Sequence[Piece]) -> dict[int, int]:
        """All pieces, one after the other in whole tiles. Which row of what is given belongs to which slot."""
        slots, starts = (np.array([getattr(piece, name) for piece in pieces]) for name in ("slot", "start"))
        counts = np.array([len(piece.ids) for piece in pieces])
        tiles = -(-counts // TILE)
        firsts = self.rows + TILE * (np.cumsum(tiles) - tiles)
        each = _within(counts)
        at = np.repeat(firsts, counts) + each
        part["ids"][at - self.rows] = np.fromiter(
            chain.from_iterable(piece.ids for piece in pieces), np.int64
        )
        part["slots"][at], part["positions"][at] = np.repeat(slots, counts), np.repeat(starts, counts) + each
        each, size = TILE * _within(tiles), int(tiles.sum())
        part["tile_slots"][:size] = np.repeat(slots, tiles)
        part["tile_firsts"][:size] = np.repeat(starts, tiles) + each
        part["tile_counts"][:size] = np.minimum(TILE, np.repeat(counts, tiles) - each)
        last = np.array([piece.last for piece in pieces])
        gives = slice(self.rows, self.rows + int(last.sum()))
        part["keep"][gives], part["given"][gives] = (firsts + counts - 1)[last], slots[last]
        return {int(slot): self.rows + row for row, slot in enumerate(slots[last])}


def _within(counts: Numbers) -> Numbers:
    """0, 1, … up to each of the counts."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def groups(pieces: Sequence[Piece], most: int) -> list[list[Piece]]:
    """The pieces in groups of at most `most` rows; longer ones are cut."""
    found: list[list[Piece]] = [[]]
    left = most
    for piece in pieces:
        rest = piece
        while rest.size > most:
            ids = rest.ids[:most]
            found.append([Piece(rest.slot, rest.start, ids, False)])
            left = 0
            rest = Piece(rest.slot, rest.start + most, rest.ids[most:], rest.last)
        if rest.size > left:
            found.append([])
            left = most
        found[-1].append(rest)
        left -= rest.size
    return found if found[0] or len(found) == 1 else found[1:]
