"""Triton kernels that choose many groups and many rows at once, where `settle` takes one after the other.

The M-th largest of a set is found bit by bit: from the highest on, a bit of the threshold stays set while at least M
values reach it. So a selection takes as many steps as a value has bits, however large M is. What was chosen is put in
order by counting for each row how many come before it. Each program works on one query; ties go to the lower number.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl
from mlsys.distance.search.kernels.direct import group_rows
from mlsys.distance.search.kernels.score import kernel
from mlsys.distance.search.kernels.settle import distance_of, in_range, query_squares, score_floor

NOWHERE = tl and tl.constexpr(2**62)  # a row number after every row


@jit
def ordered32(value):  # type: ignore[no-untyped-def]
    """Float32 values as int64 from 0 to 2³² - 1 in the same order."""
    bits = value.to(tl.int32, bitcast=True)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.int64) + 0x80000000


@jit
def ordered64(value):  # type: ignore[no-untyped-def]
    """Float64 values as int64 in the same order; no nan, and -0 is 0."""
    bits = (value + 0.0).to(tl.int64, bitcast=True)
    return bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)


@jit
def reached_by(values, count):  # type: ignore[no-untyped-def]
    """The largest number from 0 to 2³² - 1 that at least `count` of `values`, int64, reach."""
    reached = tl.full([], 0, tl.int64)
    for bit in range(32):
        more = reached + (tl.full([], 1, tl.int64) << (31 - bit))
        reached = tl.where(tl.sum((values >= more).to(tl.int32), axis=0) >= count, more, reached)
    return reached


@jit
def largest(values, M: tl.constexpr):  # type: ignore[no-untyped-def]
    """Which of `values`, see `ordered32`, are the M largest, of equal ones the first; and the largest of the others."""
    least = reached_by(values, M)
    above = values > least
    level = values == least
    wanted = M - tl.sum(above.to(tl.int32), axis=0)
    taken = above | (level & (tl.cumsum(level.to(tl.int32), axis=0) <= wanted))
    return taken, tl.max(tl.where(taken, -1, values), axis=0)


@jit
def value_of(order):  # type: ignore[no-untyped-def]
    """The float32 of `ordered32`; -inf for -1."""
    bits = (order - 0x80000000).to(tl.int32)
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return tl.where(order < 0, -float("inf"), bits.to(tl.float32, bitcast=True))


@kernel
def best_lanes(  # type: ignore[no-untyped-def]
    maxima, rest, lanes_out, groups,
    M: tl.constexpr, WIDTH: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The M best of WIDTH lanes, lane l holding groups l, l + WIDTH, …; `rest` (Q,): no other lane is above.

    The M best groups are in the M best lanes. Lanes (Q, M) int32 in ascending order, M <= WIDTH.
    """
    query = tl.program_id(0).to(tl.int64)
    line = maxima + query * groups
    lanes = tl.arange(0, WIDTH)
    top = tl.full([WIDTH], -float("inf"), tl.float32)
    for start in range(0, groups, WIDTH * DEPTH):
        at = start + tl.arange(0, DEPTH)[:, None] * WIDTH + lanes[None, :]
        top = tl.maximum(top, tl.max(tl.load(line + at, mask=at < groups, other=-float("inf")), axis=0))
    taken, most = largest(ordered32(top), M)
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
    order = tl.where(there, ordered32(values), 0)
    taken, most = largest(order, M)
    place = chosen + query * M + tl.cumsum(taken.to(tl.int32), axis=0) - 1
    tl.store(place, tl.where(there, group, -1), mask=taken)
    tl.store(cut + query, tl.maximum(tl.load(rest + query), value_of(most)))


@kernel
def lowest_keys(  # type: ignore[no-untyped-def]
    keys, chosen, key_out, row_out, rows,
    M: tl.constexpr, K: tl.constexpr, BN: tl.constexpr, CLASSES: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """The K lowest of the keys (Q, M · members) and their rows, in no order; of equal keys the lower rows."""
    MEMBERS: tl.constexpr = BN // CLASSES
    query = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, SIZE)
    group = tl.load(chosen + query * M + at // MEMBERS, mask=at < M * MEMBERS, other=-1)
    row = group_rows(group, at % MEMBERS, BN, CLASSES)
    there = (group >= 0) & (row < rows)
    key = tl.load(keys + query * (M * MEMBERS) + at, mask=there, other=float("inf"))
    order = ordered64(key)
    high = 0x7FFFFFFF - (order >> 32)  # the lowest keys are the largest numbers, in two halves
    least = reached_by(tl.where(there, high, 0), K)
    level = there & (high == least)
    left = K - tl.sum((there & (high > least)).to(tl.int32), axis=0)
    low = tl.where(level, 0xFFFFFFFF - (order & 0xFFFFFFFF), -1)
    lower = reached_by(low, left)
    tied = level & (low == lower)
    left -= tl.sum((low > lower).to(tl.int32), axis=0)
    last = reached_by(tl.where(tied, 0x7FFFFFFF - row, -1), left)
    taken = there & ((high > least) | (level & (low > lower)) | (tied & (0x7FFFFFFF - row >= last)))
    place = query * K + tl.cumsum(taken.to(tl.int32), axis=0) - 1
    tl.store(key_out + place, key, mask=taken)
    tl.store(row_out + place, row, mask=taken)


@kernel
def in_order(  # type: ignore[no-untyped-def]
    keys, found, key_out, row_out, distance_out,
    K: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """Keys (Q, K) and rows `found` ascending, and their float32 distances; one program a query and BLOCK of them."""
    PARTS: tl.constexpr = (K + BLOCK - 1) // BLOCK
    query = (tl.program_id(0) // PARTS).to(tl.int64) * K
    at = (tl.program_id(0) % PARTS) * BLOCK + tl.arange(0, BLOCK)
    key = tl.load(keys + query + at, mask=at < K, other=float("inf"))
    row = tl.load(found + query + at, mask=at < K, other=NOWHERE)
    before = tl.zeros([BLOCK], tl.int32)
    for start in range(0, K, TILE):
        other = start + tl.arange(0, TILE)
        other_key = tl.load(keys + query + other, mask=other < K, other=float("inf"))[None, :]
        other_row = tl.load(found + query + other, mask=other < K, other=NOWHERE)[None, :]
        less = (other_key < key[:, None]) | ((other_key == key[:, None]) & (other_row < row[:, None]))
        before += tl.sum(less.to(tl.int32), axis=1)
    tl.store(key_out + query + before, key, mask=at < K)
    tl.store(row_out + query + before, row, mask=at < K)
    tl.store(distance_out + query + before, distance_of(key, METRIC).to(tl.float32), mask=at < K)


@kernel
def proved(  # type: ignore[no-untyped-def]
    keys, cut, limits, x, cast, status,
    K: tl.constexpr, D: tl.constexpr, BK: tl.constexpr, METRIC: tl.constexpr, COVERED: tl.constexpr,
):  # fmt: skip
    """`status` 0 where the ascending keys (Q, K) are certain: see `nearest_rows`."""
    query = tl.program_id(0).to(tl.int64)
    squared, lost = query_squares(x + query * D, cast + query * D, D, BK)
    longest = tl.load(limits + 1)
    last = tl.load(keys + query * K + K - 1)
    floor = score_floor(last, squared, lost, longest, tl.load(limits + 2), METRIC)
    certain = (tl.load(cut + query).to(tl.float64) < floor - 1e-28) | COVERED
    tl.store(status + query, tl.where(certain & in_range(squared, tl.load(limits), longest, METRIC), 0, 1))
