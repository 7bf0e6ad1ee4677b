"""Blocks of the pool to their places in slots and back, all of a step in one launch: one by one they took longer to
launch than the step to compute.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mlsys.distance.language import jit_once, tl, triton
from mlsys.rag.generator.placing import placed
from mlsys.rag.generator.stepping import Copy


@jit_once("copies")
def _move(  # type: ignore[no-untyped-def]
    pool, slots, table, copies, heads, size, block_size, side_size, slot_size, head_size, dim,
    TO_SLOTS: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    copy, side = tl.program_id(0), tl.program_id(1)
    block, slot = tl.load(table + copy), tl.load(table + copies + copy)
    start, at = tl.load(table + 2 * copies + copy), tl.arange(0, SIZE)
    here = pool + block * block_size + side * heads * size + at
    there = slots + side.to(tl.int64) * side_size + slot * slot_size + start * dim + at
    for head in range(heads):
        if TO_SLOTS:
            tl.store(there + head * head_size, tl.load(here + head * size, mask=at < size), mask=at < size)
        else:
            tl.store(here + head * size, tl.load(there + head * head_size, mask=at < size), mask=at < size)


def move(pool: torch.Tensor, slots: torch.Tensor, copies: Sequence[Copy], to_slots: bool) -> None:
    """Between `pool` (blocks, layers, 2, K, block_tokens, d) and `slots` (layers, 2, S, K, tokens, d), both contiguous.

    No two of the copies write to the same place.
    """
    lists = [[copy.block for copy in copies], [copy.slot for copy in copies], [copy.start for copy in copies]]
    sides, size = pool.shape[1] * 2, pool.shape[4] * pool.shape[5]
    _move[(len(copies), sides)](
        pool, slots, placed(lists, pool.device), len(copies), pool.shape[3], size, pool.stride(0),
        *slots.stride()[1:4], pool.shape[5], TO_SLOTS=to_slots, SIZE=triton.next_power_of_2(size),
    )  # fmt: skip
