"""Triton kernels from group maxima to neighbours: choose groups, and of their recomputed rows choose and prove.

Each works on one query a program. Ties go to the lower number everywhere.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl
from mlsys.distance.search.kernels.direct import group_rows
from mlsys.distance.search.kernels.score import kernel

LOWEST = tl and tl.constexpr(-(2**63))
NOWHERE = tl and tl.constexpr(2**62)  # a row number after every row
STEP = tl and tl.constexpr(512)  # elements of a query at once


@jit
def packed(value, number):  # type: ignore[no-untyped-def]
    """A float32 and a number as one int64 that sorts by the value, equal values by the lower number first."""
    bits = value.to(tl.int32, bitcast=True)
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (bits.to(tl.int64) << 32) | (0x7FFFFFFF - number).to(tl.int64)


@jit
def packed_value(pair):  # type: ignore[no-untyped-def]
    """The float32 in a pair of `packed`; -inf for the lowest pair."""
    bits = (pair >> 32).to(tl.int32)
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return tl.where(pair == LOWEST, -float("inf"), bits.to(tl.float32, bitcast=True))


@jit
def packed_number(pair):  # type: ignore[no-untyped-def]
    """The number in a pair of `packed`; -1 for the lowest pair."""
    return tl.where(pair == LOWEST, -1, 0x7FFFFFFF - (pair & 0x7FFFFFFF).to(tl.int32))


@kernel
def best_groups(  # type: ignore[no-untyped-def]
    maxima, cut, chosen, groups, m,
    SLOTS: tl.constexpr, WIDTH: tl.constexpr, FOLD: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The m best groups of one query: `chosen` (Q, m) int32 or -1; no other maximum is above `cut` (Q,).

    Groups are folded into WIDTH lanes, l holding l, l + WIDTH, …: the m best groups are in the m best lanes.
    SLOTS and FOLD are powers of two, not below m and groups / WIDTH. DEPTH loads are in flight at once.
    """
    query = tl.program_id(0).to(tl.int64)
    line = maxima + query * groups
    lanes = tl.arange(0, WIDTH)
    top = tl.full([WIDTH], -float("inf"), tl.float32)
    for start in range(0, groups, WIDTH * DEPTH):
        at = start + tl.arange(0, DEPTH)[:, None] * WIDTH + lanes[None, :]
        top = tl.maximum(top, tl.max(tl.load(line + at, mask=at < groups, other=-float("inf")), axis=0))
    pairs = tl.where(lanes < groups, packed(top, lanes), LOWEST)
    slots = tl.arange(0, SLOTS)
    lane = tl.full([SLOTS], -1, tl.int32)
    for i in range(m):
        number = packed_number(tl.max(pairs, axis=0))
        lane = tl.where(slots == i, number, lane)
        pairs = tl.where(lanes == number, LOWEST, pairs)
    rest = packed_value(tl.max(pairs, axis=0))
    group = lane[:, None] + WIDTH * tl.arange(0, FOLD)[None, :]
    there = (lane >= 0)[:, None] & (group < groups)
    values = tl.load(line + group, mask=there, other=-float("inf"))
    pairs = tl.reshape(tl.where(there, packed(values, group), LOWEST), [SLOTS * FOLD])
    group = tl.reshape(group, [SLOTS * FOLD])
    for i in range(m):
        number = packed_number(tl.max(pairs, axis=0))
        tl.store(chosen + query * m + i, number)
        pairs = tl.where(group == number, LOWEST, pairs)
    tl.store(cut + query, tl.maximum(rest, packed_value(tl.max(pairs, axis=0))))


@jit
def take_lowest(key, row):  # type: ignore[no-untyped-def]
    """The lowest key and its row, of equal keys the lowest row; and keys and rows without it."""
    lowest = tl.min(key, axis=0)
    number = tl.min(tl.where(key == lowest, row, NOWHERE), axis=0)
    taken = row == number
    return lowest, number, tl.where(taken, float("inf"), key), tl.where(taken, NOWHERE, row)


@jit
def distance_of(key, METRIC: tl.constexpr):  # type: ignore[no-untyped-def]
    """The distance, float64, that a key stands for."""
    distance = key
    if METRIC == "l2":
        distance = tl.sqrt(key)
    elif METRIC == "dot":
        distance = -key
    elif METRIC == "cosine":
        distance = tl.where(key == float("inf"), float("nan"), key)
    return distance


@jit
def query_squares(x, cast, dim):  # type: ignore[no-untyped-def]
    """‖x‖² of the query at x (dim,), and ‖x − cast‖², what casting it has lost; float64."""
    inner = tl.arange(0, STEP)
    squares = tl.zeros([STEP], tl.float64)
    lost = tl.zeros([STEP], tl.float64)
    for k in range(0, dim, STEP):
        a = tl.load(x + k + inner, mask=inner < dim - k, other=0.0).to(tl.float64)
        b = tl.load(cast + k + inner, mask=inner < dim - k, other=0.0).to(tl.float64)
        squares += a * a
        lost += (a - b) * (a - b)
    return tl.sum(squares, axis=0), tl.sum(lost, axis=0)


@jit
def score_floor(last, squared, lost, limits, METRIC: tl.constexpr):  # type: ignore[no-untyped-def]
    """The least score that a row with the key `last` can have had, all errors against it. See `scores`.

    limits: of `maxima.limits`.
    """
    longest = tl.load(limits + 1)
    tolerance = tl.load(limits + 2)
    rounding = tl.load(limits + 3)
    norm = tl.sqrt(squared)
    error = (tolerance * norm + tl.sqrt(lost)) * longest
    if METRIC == "dot":
        floor = -last - error
    elif METRIC == "cosine":
        floor = norm * (1 - last) - error
    elif METRIC == "l1":
        floor = -last * (1 + tolerance)
    else:
        floor = (squared - last) / 2 - error - rounding * longest * longest - 1e-15 * squared
    return floor


@jit
def in_range(squared, limits, METRIC: tl.constexpr):  # type: ignore[no-untyped-def]
    """Whether products of the query, ‖x‖² = squared, with the rows stay within float32's range."""
    shortest = tl.load(limits)
    longest = tl.load(limits + 1)
    safe = (squared < 1e37) & (tl.sqrt(squared) * longest < 1e37) & (longest * longest < 1e37)
    if METRIC != "l1":
        safe = safe & ((squared == 0) | (squared > 1e-25)) & (shortest * shortest > 1e-25)
    return safe


@jit
def proved(last, cut, x, cast, dim, limits, covered, METRIC: tl.constexpr):  # type: ignore[no-untyped-def]
    """Whether no row that was left out can be nearer to the query at x (dim,) than its k-th, whose key is `last`.

    cut: where the best score is that a row left out can have; `covered`: none was.
    """
    squared, lost = query_squares(x, cast, dim)
    floor = score_floor(last, squared, lost, limits, METRIC)
    certain = (tl.load(cut).to(tl.float64) < floor - 1e-28) | covered
    return certain & in_range(squared, limits, METRIC)


@kernel
def nearest_rows(  # type: ignore[no-untyped-def]
    keys, cut, chosen, limits, x, cast, key_out, distance_out, row_out, status,
    rows, dim, groups, m, k, class_bits, member_bits, SIZE: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """The k best of one query's keys, their float32 distances, and `status` 0 where they are certain.

    `limits`: see `maxima.limits`. SIZE: a power of two, not below the keys of m groups.
    Certain: all groups were taken, or the score of the k-th, less the error bound `tolerance` · ‖x‖ · longest and the
    cost of casting the query, is above `cut`. Anything not finite or out of float32's range leaves status 1. See
    `scores`.
    """
    query = tl.program_id(0).to(tl.int64)
    candidates = m << member_bits
    at = tl.arange(0, SIZE)
    group = tl.load(chosen + query * m + (at >> member_bits), mask=at < candidates, other=-1)
    row = group_rows(group, at & ((1 << member_bits) - 1), class_bits, member_bits)
    there = (group >= 0) & (row < rows)
    row = tl.where(there, row, NOWHERE)
    key = tl.load(keys + query * candidates + at, mask=there, other=float("inf"))
    last = tl.full([], float("inf"), tl.float64)
    for i in range(k):
        last, number, key, row = take_lowest(key, row)
        tl.store(key_out + query * k + i, last)
        tl.store(row_out + query * k + i, number)
        tl.store(distance_out + query * k + i, distance_of(last, METRIC).to(tl.float32))
    vector = query * dim
    certain = proved(last, cut + query, x + vector, cast + vector, dim, limits, m == groups, METRIC)
    tl.store(status + query, tl.where(certain, 0, 1))
