"""How a step's numbers are laid out."""

import numpy as np

from mlsys.rag.generator.slot_kernels import TILE
from mlsys.rag.generator.step_layout import Layout, Piece, groups

NONE = 4


def piece(slot: int, start: int, count: int, last: bool = True) -> Piece:
    return Piece(slot, start, list(range(100, 100 + count)), last)


def test_tokens_lie_where_their_tiles_say() -> None:
    layout = Layout(2, 4 * TILE, NONE)
    packed, rows = layout.pack([3], [7], [piece(1, 20, TILE + 2), piece(0, 0, 3, last=False)])
    part = {name: packed[place].tolist() for name, place in layout.places.items()}
    assert rows == {3: 0, 1: 2}
    assert part["keep"] == [0, 0, 2 + TILE + 1, 0, 0, 0]
    assert part["given"] == [3, NONE, 1, NONE, NONE, NONE]
    assert part["tile_slots"] == [1, 1, 0, NONE]
    assert part["tile_firsts"] == [20, 20 + TILE, 0, 0]
    assert part["tile_counts"] == [TILE, 2, 3, 0]
    assert part["slots"][:3] == [3, NONE, 1]
    assert part["positions"][:3] == [7, 0, 20]
    assert part["slots"].count(NONE) == 1 + TILE - 2 + TILE - 3 + TILE
    assert part["ids"][2 * TILE : 2 * TILE + 4] == [100, 101, 102, 0]
    again, _ = layout.pack([], [], [])
    assert set(again[layout.places["slots"]]) == {NONE}
    assert np.shares_memory(packed, again) is False


def test_pieces_that_are_too_much_for_a_pass_are_spread_over_several() -> None:
    spread = groups([piece(0, 0, 20), piece(1, 0, 5), piece(2, 5, 100)], 3 * TILE)
    assert [[(one.slot, one.start, len(one.ids), one.last) for one in group] for group in spread] == [
        [(0, 0, 20, True), (1, 0, 5, True)],
        [(2, 5, 48, False)],
        [(2, 53, 48, False)],
        [(2, 101, 4, True)],
    ]
    assert groups([], 32) == [[]]
    assert len(groups([piece(0, 0, 40)], 32)) == 2
