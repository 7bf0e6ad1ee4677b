"""Triton kernels that choose many rows at once, where `settle` takes one after the other: see `radix`.

What was chosen is put in order by a sort of keys without their last bits. Where that does not tell two apart, and where
rows are few, it is counted for each how many come before it. Ties go to the lower row.
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl
from mlsys.distance.search.kernels.direct import group_rows
from mlsys.distance.search.kernels.radix import ordered64, reached_by, shortened, upper
from mlsys.distance.search.kernels.score import kernel
from mlsys.distance.search.kernels.settle import distance_of, proved

OTHERS = tl and tl.constexpr(16)  # keys that others are compared with at once; more do not fit the registers
NOWHERE = tl and tl.constexpr(2**62)  # a row number after every row


@kernel
def lowest_keys(  # type: ignore[no-untyped-def]
    keys, chosen, key_out, row_out, rows, m, k, room, class_bits, member_bits, SIZE: tl.constexpr,
):  # fmt: skip
    """The k lowest of the keys (Q, m · members) and their rows, in no order; of equal keys the lower rows: (Q, room).

    First by the upper halves of the keys. Only where more share the k-th than are wanted, by the lower ones, by rows.
    """
    query = tl.program_id(0).to(tl.int64)
    candidates = m << member_bits
    at = tl.arange(0, SIZE)
    group = tl.load(chosen + query * m + (at >> member_bits), mask=at < candidates, other=-1)
    row = group_rows(group, at & ((1 << member_bits) - 1), class_bits, member_bits)
    there = (group >= 0) & (row < rows)
    key = tl.load(keys + query * candidates + at, mask=there, other=float("inf"))
    high = 0xFFFFFFFF - upper(key)  # the lowest keys are the largest numbers
    high = tl.where(there, high, high & 0)
    least = reached_by(high, k)
    taken = there & (high >= least)
    if tl.sum(taken.to(tl.int32), axis=0) > k:
        level = there & (high == least)
        left = k - tl.sum((there & (high > least)).to(tl.int32), axis=0)
        low = 0xFFFFFFFF - (ordered64(key) & 0xFFFFFFFF).to(tl.uint32)
        low = tl.where(level, low, low & 0)
        lower = reached_by(low, left)
        tied = level & (low == lower)
        left -= tl.sum((level & (low > lower)).to(tl.int32), axis=0)
        early = (0x7FFFFFFF - row).to(tl.uint32)
        last = reached_by(tl.where(tied, early, early & 0), left)
        taken = there & ((high > least) | (level & (low > lower)) | (tied & (early >= last)))
    place = query * room + tl.cumsum(taken.to(tl.int32), axis=0) - 1
    tl.store(key_out + place, key, mask=taken)
    tl.store(row_out + place, row, mask=taken)


@jit
def exact_places(keys, found, key, row, k, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """How many of the keys (k,) and rows `found` (k,) come before each of `key` and `row` (BLOCK,)."""
    before = tl.zeros([BLOCK, OTHERS], tl.int32)
    for start in range(0, k, OTHERS):
        other = start + tl.arange(0, OTHERS)
        other_key = tl.load(keys + other, mask=other < k, other=float("inf"))[None, :]
        other_row = tl.load(found + other, mask=other < k, other=NOWHERE)[None, :]
        less = (other_key < key[:, None]) | ((other_key == key[:, None]) & (other_row < row[:, None]))
        before += less.to(tl.int32)
    return tl.sum(before, axis=1)


@kernel
def in_order(  # type: ignore[no-untyped-def]
    keys, found, cut, limits, x, cast, key_out, row_out, distance_out, status, alike,
    dim, groups, m, k, room, BLOCK: tl.constexpr, AGAIN: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """The k keys (Q, room) and rows `found` ascending, their float32 distances, and `status`: see `nearest_rows`.

    One program a query and BLOCK of them. AGAIN: only of queries whose keys are `alike`, see `sorted_rows`. Their
    `status` is known then, and the host may have gone on: it is not written again.
    """
    parts = tl.cdiv(k, BLOCK)
    query = (tl.program_id(0) // parts).to(tl.int64)
    first = query * k
    line = query * room
    at = (tl.program_id(0) % parts) * BLOCK + tl.arange(0, BLOCK)
    there = at < k
    if AGAIN:
        there = there & (tl.load(alike + query) > 0)
    if tl.max(there.to(tl.int32), axis=0) > 0:
        key = tl.load(keys + line + at, mask=there, other=float("inf"))
        row = tl.load(found + line + at, mask=there, other=NOWHERE)
        place = exact_places(keys + line, found + line, key, row, k, BLOCK)
        tl.store(key_out + first + place, key, mask=there)
        tl.store(row_out + first + place, row, mask=there)
        tl.store(distance_out + first + place, distance_of(key, METRIC).to(tl.float32), mask=there)
        if not AGAIN:
            is_last = there & (place == k - 1)
            if tl.sum(is_last.to(tl.int32), axis=0) > 0:
                last, vector = tl.max(tl.where(is_last, key, -float("inf")), axis=0), query * dim
                certain = proved(
                    last, cut + query, x + vector, cast + vector, dim, limits, m == groups, METRIC
                )
                tl.store(status + query, tl.where(certain, 0, 1))


@kernel
def sorted_rows(  # type: ignore[no-untyped-def]
    keys, found, cut, limits, x, cast, key_out, row_out, distance_out, status, alike,
    dim, groups, m, k, ROOM: tl.constexpr, BITS: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """As `in_order`, in one program a query, but where keys differ little: `alike` (Q,) int32 counts those.

    The lowest BITS of a key, see `shortened`, make room for its place; ROOM = 2**BITS, not below k. That lines begin at
    multiples of ROOM gives a thread neighbouring keys, which are sorted with the fewest exchanges between threads.
    """
    query = tl.program_id(0).to(tl.int64)
    first = query * k
    line = query * ROOM
    at = tl.arange(0, ROOM)
    there = at < k
    key = shortened(tl.load(keys + line + at, mask=there, other=float("inf")), BITS)
    key = tl.sort(tl.where(there, key | at, 0x7FFFFFFFFFFFFFFF))
    slot = (key & (ROOM - 1)).to(tl.int32)
    short = key >> BITS
    before = tl.gather(short, tl.maximum(at - 1, 0), axis=0)
    tl.store(alike + query, tl.sum((there & (at > 0) & (short == before)).to(tl.int32), axis=0))
    key = tl.load(keys + line + slot, mask=there, other=-float("inf"))
    tl.store(key_out + first + at, key, mask=there)
    tl.store(row_out + first + at, tl.load(found + line + slot, mask=there, other=NOWHERE), mask=there)
    tl.store(distance_out + first + at, distance_of(key, METRIC).to(tl.float32), mask=there)
    last, vector = tl.max(key, axis=0), query * dim
    certain = proved(last, cut + query, x + vector, cast + vector, dim, limits, m == groups, METRIC)
    tl.store(status + query, tl.where(certain, 0, 1))
