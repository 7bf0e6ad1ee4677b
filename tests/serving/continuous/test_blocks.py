"""Which blocks are found, which make room: exact, and never one that is in use."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlsys.serving.continuous.blocks import Node, PrefixCache

SIZE = 2


def keep(cache: PrefixCache, ids: list[int], step: int) -> list[tuple[int, int]]:
    """Read `ids` in one step and keep its whole blocks. (place, block) of those that are saved."""
    found = cache.find(ids)
    node: Node | None = cache.take(ids, found)
    saved = []
    for start in range(len(found) * SIZE, len(ids) // SIZE * SIZE, SIZE):
        if node is None:
            break
        node, is_new = cache.extend(node, tuple(ids[start : start + SIZE]), step)
        if node is not None and is_new:
            saved.append((start, node.block))
    if node is not None:
        cache.release(node)
    return saved


def blocks(cache: PrefixCache, ids: list[int]) -> list[int]:
    return [node.block for node in cache.find(ids)]


def test_what_prompts_begin_with_alike_is_found_and_the_last_token_never_is() -> None:
    cache = PrefixCache(8, SIZE)
    assert keep(cache, [1, 2, 3, 4, 5], 0) == [(0, 0), (2, 1)]
    assert blocks(cache, [1, 2, 3, 4, 9]) == [0, 1]
    assert blocks(cache, [1, 2, 3, 4]) == [0]
    assert blocks(cache, [1, 2, 9, 4, 9]) == [0]
    assert blocks(cache, [3, 4, 5, 6]) == [], "the same tokens at another place are something else"
    assert keep(cache, [1, 2, 7, 8, 9], 1) == [(2, 2)]
    assert (cache.queried_tokens, cache.hit_tokens, cache.used) == (10, 2, 3)


def test_the_block_used_longest_ago_makes_room_and_that_of_a_prompts_end_first() -> None:
    cache = PrefixCache(3, SIZE)
    keep(cache, [1, 2, 3, 4, 0], 0)
    keep(cache, [5, 6, 0], 1)
    keep(cache, [7, 8, 0], 2)
    assert blocks(cache, [1, 2, 3, 4, 0]) == [0]
    assert blocks(cache, [7, 8, 0]) == [1]
    keep(cache, [1, 2, 0], 3)  # used again
    keep(cache, [9, 9, 0], 4)
    assert blocks(cache, [5, 6, 0]) == []
    assert blocks(cache, [1, 2, 0]) == [0]


def test_a_block_in_use_makes_no_room_and_reading_goes_on_without() -> None:
    cache = PrefixCache(1, SIZE)
    keep(cache, [1, 2, 0], 0)
    held = cache.take([1, 2, 0], cache.find([1, 2, 0]))
    assert keep(cache, [5, 6, 0], 1) == []
    cache.release(held)
    assert keep(cache, [5, 6, 0], 2) == [(0, 0)]


def test_two_saves_of_one_step_never_go_to_the_same_block() -> None:
    cache = PrefixCache(1, SIZE)
    assert keep(cache, [1, 2, 0], 0) == [(0, 0)]
    assert keep(cache, [5, 6, 0], 0) == []
    assert keep(cache, [5, 6, 0], 1) == [(0, 0)]


def test_without_blocks_nothing_is_found() -> None:
    cache = PrefixCache(0, SIZE)
    assert keep(cache, [1, 2, 3, 4, 0], 0) == []
    assert blocks(cache, [1, 2, 3, 4, 0]) == []


@given(
    st.integers(1, 6),
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9), min_size=1, max_size=40),
)
def test_a_found_block_holds_the_tokens_that_were_saved_in_it(room: int, prompts: list[list[int]]) -> None:
    cache, pool = PrefixCache(room, SIZE), dict[int, list[int]]()
    for step, ids in enumerate(prompts):
        for place, node in enumerate(cache.find(ids)):
            assert pool[node.block] == ids[: (place + 1) * SIZE]
        for start, block in keep(cache, ids, step):
            pool[block] = ids[: start + SIZE]
        assert cache.used <= room
