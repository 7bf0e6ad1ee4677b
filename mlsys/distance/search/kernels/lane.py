"""Triton kernels that choose many groups by their maxima at once, where `settle` takes one after the other.

One program works on a query, or where its maxima are too many several: each folds some lanes, one finds the level that
enough lanes reach, several pick these lanes, and at last several pick the groups in them that reach it.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl
from mlsys.distance.search.kernels.radix import largest, ordered32, reached_by, value_of
from mlsys.distance.search.kernels.score import kernel


@jit
def folded(line, lanes, groups, WIDTH: tl.constexpr, DEPTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """The largest of each lane's maxima: lane l holds l, l + WIDTH, …; DEPTH loads are in flight at once."""
    top = tl.full([lanes.shape[0]], -float("inf"), tl.float32)
    for start in range(0, groups, WIDTH * DEPTH):
        at = start + tl.arange(0, DEPTH)[:, None] * WIDTH + lanes[None, :]
        top = tl.maximum(top, tl.max(tl.load(line + at, mask=at < groups, other=-float("inf")), axis=0))
    return top


@kernel
def best_groups(  # type: ignore[no-untyped-def]
    maxima, cut, lanes, chosen, groups, m,
    SLOTS: tl.constexpr, WIDTH: tl.constexpr, FOLD: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The m best groups (Q, m) int32 of one query, -1 where there are fewer; no other maximum is above `cut` (Q,).

    They are in the m best of WIDTH lanes, see `folded`. `lanes` (Q, m) int32 is room for these; m <= WIDTH.
    """
    query = tl.program_id(0).to(tl.int64)
    maxima += query * groups
    lanes += query * m
    chosen += query * m
    lane = tl.arange(0, WIDTH)
    taken, most = largest(ordered32(folded(maxima, lane, groups, WIDTH, DEPTH)), m)
    rest = value_of(most)
    tl.store((lanes if FOLD > 1 else chosen) + tl.cumsum(taken.to(tl.int32), axis=0) - 1, lane, mask=taken)
    if FOLD > 1:
        tl.debug_barrier()  # the program's other threads have written them
        at = tl.arange(0, SLOTS * FOLD)
        slot = at // FOLD
        group = tl.load(lanes + slot, mask=slot < m, other=0) + WIDTH * (at % FOLD)
        there = (slot < m) & (group < groups)
        order = ordered32(tl.load(maxima + group, mask=there, other=-float("inf")))
        taken, most = largest(tl.where(there, order, order & 0), m)
        tl.store(chosen + tl.cumsum(taken.to(tl.int32), axis=0) - 1, tl.where(there, group, -1), mask=taken)
        rest = tl.maximum(rest, value_of(most))
    tl.store(cut + query, rest)


@kernel
def lane_tops(  # type: ignore[no-untyped-def]
    maxima, tops, groups,
    WIDTH: tl.constexpr, LANES: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The largest of each lane, `tops` (Q, WIDTH), see `folded`; a program for LANES of a query's."""
    PARTS: tl.constexpr = WIDTH // LANES
    query = (tl.program_id(0) // PARTS).to(tl.int64)
    lanes = (tl.program_id(0) % PARTS) * LANES + tl.arange(0, LANES)
    tl.store(tops + query * WIDTH + lanes, folded(maxima + query * groups, lanes, groups, WIDTH, DEPTH))


@kernel
def lane_level(  # type: ignore[no-untyped-def]
    tops, level, chosen, taken, groups, m, slots,
    ROOM: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """`level` (Q,) that m of the `tops` (Q, groups) of lanes reach, up to WIDTH.

    Empties `chosen` (Q, slots), ROOM the power of two not below `slots`. Of `taken` (Q, 2) the first >> 16 becomes the
    number of lanes above the level, see `reaching`, and the second 0, see `within`.
    """
    query = tl.program_id(0).to(tl.int64)
    lanes = tl.arange(0, WIDTH)
    top = tl.load(tops + query * groups + lanes, mask=lanes < groups, other=-float("inf"))
    top = ordered32(top + 0.0)  # so that -0 is 0 here as it is for `reaching`
    reached = value_of(reached_by(top, m)) + 0.0
    tl.store(level + query, reached)
    tl.store(taken + 2 * query, tl.sum((top > ordered32(reached)).to(tl.int32), axis=0) << 16)
    tl.store(taken + 2 * query + 1, 0)
    slot = tl.arange(0, ROOM)
    tl.store(chosen + query * slots + slot, slot * 0 - 1, mask=slot < slots)


@kernel
def reaching(  # type: ignore[no-untyped-def]
    tops, level, chosen, taken, groups, m, PIECE: tl.constexpr,
):  # fmt: skip
    """The m lanes whose `tops` (Q, groups) reach `level` (Q,), in no order: `chosen` (Q, m) int32.

    A program for PIECE of a query's. Those above the level have the first places, of those on it as many are taken as
    there is room for: no other lane is above it.
    """
    parts = tl.cdiv(groups, PIECE)
    query = (tl.program_id(0) // parts).to(tl.int64)
    at = (tl.program_id(0) % parts) * PIECE + tl.arange(0, PIECE)
    there = at < groups
    value = tl.load(tops + query * groups + at, mask=there, other=-float("inf"))
    least = tl.load(level + query)
    above, on = there & (value > least), there & (value == least)
    both = above.to(tl.int32) + (on.to(tl.int32) << 16)
    number = tl.sum(both, axis=0)
    if number > 0:
        place = tl.atomic_add(taken + 2 * query, number, sem="relaxed") + tl.cumsum(both, axis=0)
        place = tl.where(above, place & 0xFFFF, place >> 16) - 1
        tl.store(chosen + query * m + place, at, mask=(above | on) & (place < m))


@kernel
def within(  # type: ignore[no-untyped-def]
    maxima, level, lanes, chosen, taken, groups, m, slots,
    PIECE: tl.constexpr, WIDTH: tl.constexpr, FOLD: tl.constexpr,
):  # fmt: skip
    """Groups that reach `level` (Q,) in `lanes` (Q, m), in no order: `chosen` (Q, slots) int32.

    A program for PIECE of a query's lanes, of which each holds up to FOLD groups. No other maximum is above `level`.
    Where more than `slots` reach it, it becomes inf: nothing is certain then.
    """
    parts = tl.cdiv(m, PIECE)
    query = (tl.program_id(0) // parts).to(tl.int64)
    at = tl.arange(0, PIECE * FOLD)
    slot = (tl.program_id(0) % parts) * PIECE + at // FOLD
    group = tl.load(lanes + query * m + slot, mask=slot < m, other=0) + WIDTH * (at % FOLD)
    there = (slot < m) & (group < groups)
    value = tl.load(maxima + query * groups + group, mask=there, other=-float("inf"))
    there = there & (value >= tl.load(level + query))
    number = tl.sum(there.to(tl.int32), axis=0)
    if number > 0:
        first = tl.atomic_add(taken + 2 * query + 1, number, sem="relaxed")
        place = first + tl.cumsum(there.to(tl.int32), axis=0) - 1
        tl.store(chosen + query * slots + place, group, mask=there & (place < slots))
        if first + number > slots:
            tl.store(level + query, float("inf"))
