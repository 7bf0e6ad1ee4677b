"""Triton kernels that choose many groups by their maxima at once, where `settle` takes one after the other.

Where queries are many, a program works on each. Where they are few, several share the maxima of one: each folds some
lanes, one finds the level that enough lanes reach, and each then picks the groups of its part that reach it.
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
def best_lanes(  # type: ignore[no-untyped-def]
    maxima, rest, lanes_out, groups,
    M: tl.constexpr, WIDTH: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The M best of WIDTH lanes, see `folded`; `rest` (Q,): no other lane is above.

    The M best groups are in the M best lanes. Lanes (Q, M) int32 in ascending order, M <= WIDTH.
    """
    query = tl.program_id(0).to(tl.int64)
    lanes = tl.arange(0, WIDTH)
    taken, most = largest(ordered32(folded(maxima + query * groups, lanes, groups, WIDTH, DEPTH)), M)
    tl.store(lanes_out + query * M + tl.cumsum(taken.to(tl.int32), axis=0) - 1, lanes, mask=taken)
    tl.store(rest + query, value_of(most))


@kernel
def best_of_lanes(  # type: ignore[no-untyped-def]
    maxima, rest, lanes, cut, chosen, groups,
    M: tl.constexpr, SLOTS: tl.constexpr, WIDTH: tl.constexpr, FOLD: tl.constexpr,
):  # fmt: skip
    """The M best groups (Q, M) int32 of M lanes, -1 where there are fewer; no other maximum is above `cut` (Q,)."""
    query = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, SLOTS * FOLD)
    slot = at // FOLD
    group = tl.load(lanes + query * M + slot, mask=slot < M, other=0) + WIDTH * (at % FOLD)
    there = (slot < M) & (group < groups)
    values = tl.load(maxima + query * groups + group, mask=there, other=-float("inf"))
    order = ordered32(values)
    taken, most = largest(tl.where(there, order, order & 0), M)
    place = chosen + query * M + tl.cumsum(taken.to(tl.int32), axis=0) - 1
    tl.store(place, tl.where(there, group, -1), mask=taken)
    tl.store(cut + query, tl.maximum(tl.load(rest + query), value_of(most)))


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
    tops, level, chosen, taken, groups,
    M: tl.constexpr, SLOTS: tl.constexpr, ROOM: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """`level` (Q,) that M of the `tops` (Q, groups) of lanes reach, up to WIDTH, so that at least M groups do.

    Empties `chosen` (Q, SLOTS), ROOM the power of two not below SLOTS, and `taken` (Q,).
    """
    query = tl.program_id(0).to(tl.int64)
    lanes = tl.arange(0, WIDTH)
    least = reached_by(
        ordered32(tl.load(tops + query * groups + lanes, mask=lanes < groups, other=-float("inf"))), M
    )
    tl.store(level + query, value_of(least))
    slots = tl.arange(0, ROOM)
    tl.store(chosen + query * SLOTS + slots, slots * 0 - 1, mask=slots < SLOTS)
    tl.store(taken + query, 0)


@kernel
def reaching(  # type: ignore[no-untyped-def]
    maxima, level, chosen, taken, groups,
    SLOTS: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    """Groups that reach `level` (Q,), in no order: `chosen` (Q, SLOTS) int32; a program for PIECE of a query's.

    No other maximum is above `level`. Where more than SLOTS reach it, it becomes inf: nothing is certain then.
    """
    parts = tl.cdiv(groups, PIECE)
    query = (tl.program_id(0) // parts).to(tl.int64)
    at = (tl.program_id(0) % parts) * PIECE + tl.arange(0, PIECE)
    there = at < groups
    value = tl.load(maxima + query * groups + at, mask=there, other=-float("inf"))
    there = there & (value >= tl.load(level + query))
    number = tl.sum(there.to(tl.int32), axis=0)
    if number > 0:
        first = tl.atomic_add(taken + query, number)
        place = first + tl.cumsum(there.to(tl.int32), axis=0) - 1
        tl.store(chosen + query * SLOTS + place, at, mask=there & (place < SLOTS))
        if first + number > SLOTS:
            tl.store(level + query, float("inf"))
