"""Triton kernels that choose many rows at once, where `settle` takes one after the other: see `radix`.

What was chosen is put in order by a sort of keys without their last bits. Where that does not tell two apart, and where
rows are few, it is counted for each how many come before it. Ties go to the lower row.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl
from mlsys.distance.search.kernels.direct import group_rows
from mlsys.distance.search.kernels.radix import ordered64, reached_by, shortened, upper
from mlsys.distance.search.kernels.score import kernel
from mlsys.distance.search.kernels.settle import distance_of, in_range, query_squares, score_floor

NOWHERE = tl and tl.constexpr(2**62)  # a row number after every row


@kernel
def lowest_keys(  # type: ignore[no-untyped-def]
    keys, chosen, key_out, row_out, rows,
    M: tl.constexpr, K: tl.constexpr, BN: tl.constexpr, CLASSES: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """The K lowest of the keys (Q, M · members) and their rows, in no order; of equal keys the lower rows.

    First by the upper halves of the keys. Only where more share the K-th than are wanted, by the lower ones, by rows.
    """
    MEMBERS: tl.constexpr = BN // CLASSES
    query = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, SIZE)
    group = tl.load(chosen + query * M + at // MEMBERS, mask=at < M * MEMBERS, other=-1)
    row = group_rows(group, at % MEMBERS, BN, CLASSES)
    there = (group >= 0) & (row < rows)
    key = tl.load(keys + query * (M * MEMBERS) + at, mask=there, other=float("inf"))
    high = 0xFFFFFFFF - upper(key)  # the lowest keys are the largest numbers
    high = tl.where(there, high, high & 0)
    least = reached_by(high, K)
    taken = there & (high >= least)
    if tl.sum(taken.to(tl.int32), axis=0) > K:
        level = there & (high == least)
        left = K - tl.sum((there & (high > least)).to(tl.int32), axis=0)
        low = 0xFFFFFFFF - (ordered64(key) & 0xFFFFFFFF).to(tl.uint32)
        low = tl.where(level, low, low & 0)
        lower = reached_by(low, left)
        tied = level & (low == lower)
        left -= tl.sum((level & (low > lower)).to(tl.int32), axis=0)
        early = (0x7FFFFFFF - row).to(tl.uint32)
        last = reached_by(tl.where(tied, early, early & 0), left)
        taken = there & ((high > least) | (level & (low > lower)) | (tied & (early >= last)))
    place = query * K + tl.cumsum(taken.to(tl.int32), axis=0) - 1
    tl.store(key_out + place, key, mask=taken)
    tl.store(row_out + place, row, mask=taken)


@kernel
def ranked(  # type: ignore[no-untyped-def]
    keys, order,
    K: tl.constexpr, ROOM: tl.constexpr, BITS: tl.constexpr,
):  # fmt: skip
    """Where in the keys (Q, K) those in ascending order stand: `order` (Q, K) int32, but for keys that differ little.

    The lowest BITS of a key, see `shortened`, make room for its place; ROOM = 2**BITS, not below K.
    """
    query = tl.program_id(0).to(tl.int64) * K
    at = tl.arange(0, ROOM)
    key = shortened(tl.load(keys + query + at, mask=at < K, other=float("inf")), BITS)
    key = tl.sort(tl.where(at < K, key | at, 0x7FFFFFFFFFFFFFFF))
    tl.store(order + query + at, (key & (ROOM - 1)).to(tl.int32), mask=at < K)


@jit
def exact_places(keys, found, key, row, K: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """How many of the keys (K,) and rows `found` (K,) come before each of `key` and `row` (BLOCK,)."""
    before = tl.zeros([BLOCK], tl.int32)
    for start in range(0, K, BLOCK):
        other = start + tl.arange(0, BLOCK)
        other_key = tl.load(keys + other, mask=other < K, other=float("inf"))[None, :]
        other_row = tl.load(found + other, mask=other < K, other=NOWHERE)[None, :]
        less = (other_key < key[:, None]) | ((other_key == key[:, None]) & (other_row < row[:, None]))
        before += tl.sum(less.to(tl.int32), axis=1)
    return before


@kernel
def in_order(  # type: ignore[no-untyped-def]
    keys, found, order, cut, limits, x, cast, key_out, row_out, distance_out, status,
    K: tl.constexpr, BLOCK: tl.constexpr, BITS: tl.constexpr, D: tl.constexpr, BK: tl.constexpr,
    METRIC: tl.constexpr, COVERED: tl.constexpr,
):  # fmt: skip
    """Keys (Q, K) and rows `found` ascending, their float32 distances, and `status`, see `settle.nearest_rows`.

    One program a query and BLOCK of them. BITS above 0: in `order`, see `ranked`, but where neighbours differ little.
    """
    PARTS: tl.constexpr = (K + BLOCK - 1) // BLOCK
    query = (tl.program_id(0) // PARTS).to(tl.int64)
    first = query * K
    at = (tl.program_id(0) % PARTS) * BLOCK + tl.arange(0, BLOCK)
    there = at < K
    slot = at
    if BITS > 0:
        slot = tl.load(order + first + at, mask=there, other=0)
    key = tl.load(keys + first + slot, mask=there, other=float("inf"))
    row = tl.load(found + first + slot, mask=there, other=NOWHERE)
    place = at
    if BITS > 0:
        short = shortened(key, BITS)
        near = tl.load(order + first + at - 1, mask=there & (at > 0), other=0)
        beside = tl.load(keys + first + near, mask=there & (at > 0), other=-float("inf"))
        alike = shortened(beside, BITS) == short
        near = tl.load(order + first + at + 1, mask=at + 1 < K, other=0)
        beside = tl.load(keys + first + near, mask=at + 1 < K, other=-float("inf"))
        alike |= shortened(beside, BITS) == short
        if tl.sum((alike & there).to(tl.int32), axis=0) > 0:
            place = exact_places(keys + first, found + first, key, row, K, BLOCK)
    else:
        place = exact_places(keys + first, found + first, key, row, K, BLOCK)
    tl.store(key_out + first + place, key, mask=there)
    tl.store(row_out + first + place, row, mask=there)
    tl.store(distance_out + first + place, distance_of(key, METRIC).to(tl.float32), mask=there)
    is_last = there & (place == K - 1)
    if tl.sum(is_last.to(tl.int32), axis=0) > 0:
        last = tl.max(tl.where(is_last, key, -float("inf")), axis=0)
        squared, lost = query_squares(x + query * D, cast + query * D, D, BK)
        floor = score_floor(last, squared, lost, limits, METRIC)
        certain = (tl.load(cut + query).to(tl.float64) < floor - 1e-28) | COVERED
        tl.store(status + query, tl.where(certain & in_range(squared, limits, METRIC), 0, 1))
