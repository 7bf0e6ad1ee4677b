"""Triton kernels from group maxima to neighbours: choose groups, recompute their rows, choose rows, prove.

Each works on one query, or on one group of one query, a program. Ties go to the lower number everywhere.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl
from mlsys.distance.search.kernels import kernel

LOWEST = tl and tl.constexpr(-(2**63))
NOWHERE = tl and tl.constexpr(2**62)  # a row number after every row


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
    maxima, cut, chosen, groups,
    M: tl.constexpr, SLOTS: tl.constexpr, WIDTH: tl.constexpr, FOLD: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The M best groups of one query: `chosen` (Q, M) int32 or -1; no other maximum is above `cut` (Q,).

    Groups are folded into WIDTH lanes, l holding l, l + WIDTH, …: the M best groups are in the M best lanes.
    SLOTS and FOLD are powers of two, not below M and groups / WIDTH. DEPTH loads are in flight at once.
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
    for i in range(M):
        number = packed_number(tl.max(pairs, axis=0))
        lane = tl.where(slots == i, number, lane)
        pairs = tl.where(lanes == number, LOWEST, pairs)
    rest = packed_value(tl.max(pairs, axis=0))
    group = lane[:, None] + WIDTH * tl.arange(0, FOLD)[None, :]
    there = (lane >= 0)[:, None] & (group < groups)
    values = tl.load(line + group, mask=there, other=-float("inf"))
    pairs = tl.reshape(tl.where(there, packed(values, group), LOWEST), [SLOTS * FOLD])
    group = tl.reshape(group, [SLOTS * FOLD])
    for i in range(M):
        number = packed_number(tl.max(pairs, axis=0))
        tl.store(chosen + query * M + i, number)
        pairs = tl.where(group == number, LOWEST, pairs)
    tl.store(cut + query, tl.maximum(rest, packed_value(tl.max(pairs, axis=0))))


@jit
def group_rows(group, member, BN: tl.constexpr, CLASSES: tl.constexpr):  # type: ignore[no-untyped-def]
    """Row numbers, int64, of members of a group: see `kernels`."""
    return (group // CLASSES).to(tl.int64) * BN + group % CLASSES + member * CLASSES


@jit
def direct_keys(  # type: ignore[no-untyped-def]
    x, y, there, D: tl.constexpr, BK: tl.constexpr, METRIC: tl.constexpr
):  # fmt: skip
    """Float64 keys of rows at pointers y (n,) to queries at x (n,) or (1,), term by term; else inf."""
    inner = tl.arange(0, BK)
    x_factor = tl.full([y.shape[0]], 1.0, tl.float64)
    y_factor = x_factor
    if METRIC == "cosine":
        xx = tl.zeros([y.shape[0], BK], tl.float64)
        yy = tl.zeros([y.shape[0], BK], tl.float64)
        for k in tl.static_range(0, D, BK):
            inside = (inner < D - k)[None, :]
            a = tl.load(x[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
            b = tl.load(y[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
            xx += a * a
            yy += b * b
        xx = tl.sum(xx, axis=1)
        yy = tl.sum(yy, axis=1)
        there = there & (xx > 0) & (yy > 0)
        x_factor = 1 / tl.sqrt(tl.where(there, xx, 1.0))
        y_factor = 1 / tl.sqrt(tl.where(there, yy, 1.0))
    acc = tl.zeros([y.shape[0], BK], tl.float64)
    for k in tl.static_range(0, D, BK):
        inside = (inner < D - k)[None, :]
        a = tl.load(x[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
        b = tl.load(y[:, None] + k + inner[None, :], mask=inside, other=0.0).to(tl.float64)
        if METRIC == "dot":
            acc -= a * b
        elif METRIC == "l1":
            acc += tl.abs(a - b)
        elif METRIC == "cosine":
            difference = a * x_factor[:, None] - b * y_factor[:, None]
            acc += 0.5 * difference * difference
        else:
            acc += (a - b) * (a - b)
    return tl.where(there, tl.sum(acc, axis=1), float("inf"))


@kernel
def group_keys(  # type: ignore[no-untyped-def]
    keys, chosen, x, y, rows,
    M: tl.constexpr, D: tl.constexpr, BN: tl.constexpr, CLASSES: tl.constexpr, BK: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """Float64 keys (Q, M, BN / CLASSES) of the rows of one chosen group, inf beyond the rows."""
    MEMBERS: tl.constexpr = BN // CLASSES
    pid = tl.program_id(0).to(tl.int64)
    member = tl.arange(0, MEMBERS)
    group = tl.load(chosen + pid)
    row = group_rows(group, member, BN, CLASSES)
    there = (group >= 0) & (row < rows)
    query = x + (pid // M + tl.arange(0, 1)) * D
    key = direct_keys(query, y + tl.where(there, row, 0) * D, there, D, BK, METRIC)
    tl.store(keys + pid * MEMBERS + member, key)


@jit
def pair_keys(  # type: ignore[no-untyped-def]
    x, y, query, row, keys, pairs,
    D: tl.constexpr, PAIRS: tl.constexpr, BK: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """Float64 keys (pairs,) of pairs of a query and a row, the same for equal rows wherever they stand."""
    at = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    there = at < pairs
    queries = x + tl.load(query + at, mask=there, other=0) * D
    rows = y + tl.load(row + at, mask=there, other=0) * D
    tl.store(keys + at, direct_keys(queries, rows, there, D, BK, METRIC), mask=there)


@kernel
def nearest_rows(  # type: ignore[no-untyped-def]
    keys, cut, chosen, limits, x, cast, key_out, distance_out, row_out, status, rows,
    M: tl.constexpr, K: tl.constexpr, D: tl.constexpr, BN: tl.constexpr, CLASSES: tl.constexpr,
    SIZE: tl.constexpr, BK: tl.constexpr, METRIC: tl.constexpr, COVERED: tl.constexpr,
):  # fmt: skip
    """The K best of one query's keys, their float32 distances, and `status` 0 where they are certain.

    `limits` are the shortest and the longest row and the scores' relative error, float64; see `maxima`.
    Certain: the score of the K-th, less the error bound `tolerance` · ‖x‖ · longest and the cost of casting
    the query, is above `cut`. Anything not finite or out of float32's range leaves status 1. See `scores`.
    """
    MEMBERS: tl.constexpr = BN // CLASSES
    query = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, SIZE)
    group = tl.load(chosen + query * M + at // MEMBERS, mask=at < M * MEMBERS, other=-1)
    row = group_rows(group, at % MEMBERS, BN, CLASSES)
    there = (group >= 0) & (row < rows)
    row = tl.where(there, row, NOWHERE)
    key = tl.load(keys + query * (M * MEMBERS) + at, mask=there, other=float("inf"))
    last = tl.full([], float("inf"), tl.float64)
    for i in range(K):
        last = tl.min(key, axis=0)
        number = tl.min(tl.where(key == last, row, NOWHERE), axis=0)
        tl.store(key_out + query * K + i, last)
        tl.store(row_out + query * K + i, number)
        distance = last
        if METRIC == "l2":
            distance = tl.sqrt(last)
        elif METRIC == "dot":
            distance = -last
        elif METRIC == "cosine":
            distance = tl.where(last == float("inf"), float("nan"), last)
        tl.store(distance_out + query * K + i, distance.to(tl.float32))
        taken = row == number
        key = tl.where(taken, float("inf"), key)
        row = tl.where(taken, NOWHERE, row)
    inner = tl.arange(0, BK)
    squares = tl.zeros([BK], tl.float64)
    lost = tl.zeros([BK], tl.float64)
    for k in tl.static_range(0, D, BK):
        a = tl.load(x + query * D + k + inner, mask=inner < D - k, other=0.0).to(tl.float64)
        b = tl.load(cast + query * D + k + inner, mask=inner < D - k, other=0.0).to(tl.float64)
        squares += a * a
        lost += (a - b) * (a - b)
    squared = tl.sum(squares, axis=0)
    norm = tl.sqrt(squared)
    shortest = tl.load(limits)
    longest = tl.load(limits + 1)
    tolerance = tl.load(limits + 2)
    error = (tolerance * norm + tl.sqrt(tl.sum(lost, axis=0))) * longest
    if METRIC == "dot":
        floor = -last - error
    elif METRIC == "cosine":
        floor = norm * (1 - last) - error
    elif METRIC == "l1":
        floor = -last * (1 + tolerance)
    else:
        floor = (squared - last) / 2 - error - tolerance * longest * longest - 1e-15 * squared
    safe = (squared < 1e37) & (norm * longest < 1e37) & (longest * longest < 1e37)
    if METRIC != "l1":
        safe = safe & ((squared == 0) | (squared > 1e-25)) & (shortest * shortest > 1e-25)
    certain = (tl.load(cut + query).to(tl.float64) < floor - 1e-28) | COVERED
    tl.store(status + query, tl.where(certain & safe, 0, 1))
