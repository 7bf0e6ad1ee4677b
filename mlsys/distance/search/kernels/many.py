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


@jit
def put_lowest(key, row, there, k, key_out, row_out):  # type: ignore[no-untyped-def]
    """Puts the k lowest of the keys and their rows in no order; of equal keys the lower rows. Returns the k-th key.

    First by the upper halves of the keys. Only where more share the k-th than are wanted, by the lower ones, by rows.
    """
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
    place = tl.cumsum(taken.to(tl.int32), axis=0) - 1
    tl.store(key_out + place, key, mask=taken)
    tl.store(row_out + place, row, mask=taken)
    return tl.max(tl.where(taken, key, -float("inf")), axis=0)


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


@jit
def put_exactly(  # type: ignore[no-untyped-def]
    keys, found, key_out, row_out, distance_out, k, BLOCK: tl.constexpr, METRIC: tl.constexpr
):  # fmt: skip
    """Puts the keys (k,) and rows `found`, and their distances, in order: BLOCK of them at a time."""
    for first in range(0, k, BLOCK):
        at = first + tl.arange(0, BLOCK)
        there = at < k
        key = tl.load(keys + at, mask=there, other=float("inf"))
        row = tl.load(found + at, mask=there, other=NOWHERE)
        place = exact_places(keys, found, key, row, k, BLOCK)
        tl.store(key_out + place, key, mask=there)
        tl.store(row_out + place, row, mask=there)
        tl.store(distance_out + place, distance_of(key, METRIC).to(tl.float32), mask=there)


@jit
def put_sorted(  # type: ignore[no-untyped-def]
    keys, found, key_out, row_out, distance_out, k,
    ROOM: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """As `put_exactly`, which it leaves only keys to that a sort does not tell apart. Returns the k-th key.

    The lowest BITS of a key, see `shortened`, make room for its place; ROOM = 2**BITS, not below k. That lines begin at
    multiples of ROOM gives a thread neighbouring keys, which are sorted with the fewest exchanges between threads.
    """
    at = tl.arange(0, ROOM)
    there = at < k
    key = shortened(tl.load(keys + at, mask=there, other=float("inf")), BITS)
    key = tl.sort(tl.where(there, key | at, 0x7FFFFFFFFFFFFFFF))
    slot = (key & (ROOM - 1)).to(tl.int32)
    short = key >> BITS
    before = tl.gather(short, tl.maximum(at - 1, 0), axis=0)
    value = tl.load(keys + slot, mask=there, other=-float("inf"))
    if tl.sum((there & (at > 0) & (short == before)).to(tl.int32), axis=0) > 0:
        put_exactly(keys, found, key_out, row_out, distance_out, k, BLOCK, METRIC)
    else:
        tl.store(key_out + at, value, mask=there)
        tl.store(row_out + at, tl.load(found + slot, mask=there, other=NOWHERE), mask=there)
        tl.store(distance_out + at, distance_of(value, METRIC).to(tl.float32), mask=there)
    return tl.max(value, axis=0)


@jit
def candidates_of(  # type: ignore[no-untyped-def]
    keys, chosen, rows, query, slots, class_bits, member_bits, SIZE: tl.constexpr
):  # fmt: skip
    """Keys of the rows of a query's groups (Q, slots), their row numbers, and which there are: (SIZE,) each."""
    at = tl.arange(0, SIZE)
    candidates = slots << member_bits
    group = tl.load(chosen + query * slots + (at >> member_bits), mask=at < candidates, other=-1)
    row = group_rows(group, at & ((1 << member_bits) - 1), class_bits, member_bits)
    there = (group >= 0) & (row < rows)
    return tl.load(keys + query * candidates + at, mask=there, other=float("inf")), row, there


@kernel
def nearest_rows(  # type: ignore[no-untyped-def]
    keys, cut, chosen, limits, x, cast, some, found, key_out, distance_out, row_out, status,
    rows, dim, groups, m, slots, k, class_bits, member_bits,
    SIZE: tl.constexpr, ROOM: tl.constexpr, BLOCK: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """As `settle.nearest_rows`, for any k up to ROOM; `some` and `found` (Q, ROOM) are room for it.

    keys: of `slots` groups, the m best and others. SIZE: a power of two, not below the number of keys.
    """
    query = tl.program_id(0).to(tl.int64)
    key, row, there = candidates_of(keys, chosen, rows, query, slots, class_bits, member_bits, SIZE)
    line, first, vector = query * ROOM, query * k, query * dim
    last = put_lowest(key, row, there, k, some + line, found + line)
    tl.debug_barrier()  # the program's other threads have written it
    put_exactly(
        some + line, found + line, key_out + first, row_out + first, distance_out + first, k, BLOCK, METRIC
    )
    certain = proved(last, cut + query, x + vector, cast + vector, dim, limits, m == groups, METRIC)
    tl.store(status + query, tl.where(certain, 0, 1))


@kernel
def lowest_rows(  # type: ignore[no-untyped-def]
    keys, chosen, some, found, rows, slots, k, class_bits, member_bits, SIZE: tl.constexpr, ROOM: tl.constexpr
):  # fmt: skip
    """The first half of `nearest_rows` for `sorted_rows`, which wants more threads: `some` and `found` (Q, ROOM)."""
    query = tl.program_id(0).to(tl.int64)
    key, row, there = candidates_of(keys, chosen, rows, query, slots, class_bits, member_bits, SIZE)
    put_lowest(key, row, there, k, some + query * ROOM, found + query * ROOM)


@kernel
def sorted_rows(  # type: ignore[no-untyped-def]
    cut, some, found, limits, x, cast, key_out, distance_out, row_out, status,
    dim, groups, m, k, ROOM: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, METRIC: tl.constexpr,
):  # fmt: skip
    """The k keys `some` (Q, ROOM) and rows `found` ascending, their float32 distances, and `status`."""
    query = tl.program_id(0).to(tl.int64)
    line, first, vector = query * ROOM, query * k, query * dim
    last = put_sorted(
        some + line, found + line, key_out + first, row_out + first, distance_out + first,
        k, ROOM, BITS, BLOCK, METRIC,
    )  # fmt: skip
    certain = proved(last, cut + query, x + vector, cast + vector, dim, limits, m == groups, METRIC)
    tl.store(status + query, tl.where(certain, 0, 1))
