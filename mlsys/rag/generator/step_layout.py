"""What changes from step to step, laid out as one array of whole numbers: a single copy takes it to the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        at, give = 0, self.rows
        for piece in pieces:
            self._place(part, piece, at)
            if piece.last:
                part["keep"][give], part["given"][give] = self.rows + at + len(piece.ids) - 1, piece.slot
                rows[piece.slot] = give
                give += 1
            at += piece.size
        return packed, rows

    def _place(self, part: dict[str, Numbers], piece: Piece, at: int) -> None:
        count, row = len(piece.ids), self.rows + at
        part["ids"][at : at + count] = piece.ids
        part["slots"][row : row + count] = piece.slot
        part["positions"][row : row + count] = np.arange(piece.start, piece.start + count)
        tiles, firsts = slice(at // TILE, (at + piece.size) // TILE), np.arange(0, count, TILE)
        part["tile_slots"][tiles] = piece.slot
        part["tile_firsts"][tiles] = piece.start + firsts
        part["tile_counts"][tiles] = np.minimum(TILE, count - firsts)


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
