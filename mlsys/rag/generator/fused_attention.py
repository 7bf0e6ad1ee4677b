"""Attention of rows that write, one token each, to their slots: one row's keys are divided among programs.

Each span gives its own softmax and the logarithm of its sum, from which the whole is joined (Dao et al., 2023).
"""

from __future__ import annotations

from mlsys.distance.language import jit, tl
from mlsys.rag.generator.fused_product import fetch, wait


@jit
def attend(  # type: ignore[no-untyped-def]
    queries, keys, values, out, ends, slots, positions, none, scale, slot_size, head_size,
    QUERIES: tl.constexpr, GROUPS: tl.constexpr, DIM: tl.constexpr, SPLITS: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """One row's attention to one of `SPLITS` spans of its slot, all queries of a key head together."""
    row, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    slot = tl.load(slots + row)
    length = tl.where(slot < none, tl.load(positions + row) + 1, 0).to(tl.int32)
    span = tl.cdiv(tl.cdiv(length, BLOCK), SPLITS) * BLOCK
    group, at, key = tl.arange(0, ROWS), tl.arange(0, DIM), tl.arange(0, BLOCK)
    real = (group < GROUPS)[:, None]
    place = (head * GROUPS + group)[:, None] * DIM + at[None, :]
    highest = tl.full((ROWS,), float("-inf"), tl.float32)
    total, found = tl.zeros((ROWS,), tl.float32), tl.zeros((ROWS, DIM), tl.float32)
    own = slot * slot_size + head * head_size
    stop = tl.minimum(split * span + span, length)
    if EARLY:  # all but the newest are there
        line: tl.constexpr = 1024 // keys.dtype.element_ty.primitive_bitwidth
        for begin in range(split * span, stop, BLOCK):
            near = own + tl.minimum(begin + key, stop - 1) * DIM
            for part in tl.static_range(0, DIM, line):
                fetch(keys + near + part)
                fetch(values + near + part)
    wait(EARLY)
    query = tl.load(queries + row * (QUERIES * DIM) + place, mask=real, other=0.0)
    for begin in range(split * span, stop, BLOCK):
        there = begin + key
        each = own + there[:, None] * DIM + at[None, :]
        block = tl.load(keys + each, mask=(there < stop)[:, None], other=0.0)
        scores = tl.dot(query, tl.trans(block), input_precision="ieee") * scale
        scores = tl.where((there < stop)[None, :], scores, float("-inf"))
        higher = tl.maximum(highest, tl.max(scores, 1))
        shrink, weights = tl.exp(highest - higher), tl.exp(scores - higher[:, None])
        block = tl.load(values + each, mask=(there < stop)[:, None], other=0.0)
        total = total * shrink + tl.sum(weights, 1)
        found = tl.dot(weights.to(block.dtype), block, found * shrink[:, None], input_precision="ieee")
        highest = higher
    empty = total == 0  # a span without keys, or a row that is none
    found /= tl.where(empty, 1.0, total)[:, None]
    start = row * SPLITS + split
    tl.store(out + start * (QUERIES * DIM) + place, found.to(out.dtype.element_ty), mask=real)
    if SPLITS > 1:
        end = tl.where(empty, -1e30, highest + tl.log(tl.where(empty, 1.0, total)))
        tl.store(ends + start * QUERIES + head * GROUPS + group, end, mask=group < GROUPS)
