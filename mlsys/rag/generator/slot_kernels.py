"""Triton kernels over slots: the newest keys and values to their places, and attention to no more than there is.

A tile is some tokens of one sequence, one after the other, that attend together: one token for a sequence that writes,
up to `TILE` for a piece of a prompt. Softmax is summed while keys are read (Milakov and Gimelshein, 2018; Dao et al.,
2022). Everything that changes from step to step is in tensors, so that the launches can be part of a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mlsys.distance.language import jit, launched, tl, triton
from mlsys.rag.generator.fused_product import wait

TILE = 16  # tokens of a prompt that attend together
KEYS_BYTES = 128  # keys read at once times the size of a number: float32 has half as many
WIDE_BYTES = 16384  # queries of a tile: from so many on it takes twice the threads, or registers spill
LEAST = 16  # what a matrix product of Triton needs on each side


@jit
def _store(  # type: ignore[no-untyped-def]
    k, v, kept, slots, positions, none,
    k_head, k_token, v_head, v_token, side, slot_size, head_size, dim, DIM: tl.constexpr,
):  # fmt: skip
    token, head = tl.program_id(0), tl.program_id(1)
    slot = tl.load(slots + token).to(tl.int64)
    at = tl.arange(0, DIM)
    mask = (at < dim) & (slot < none)
    place = kept + slot * slot_size + head * head_size + tl.load(positions + token) * dim + at
    tl.store(place, tl.load(k + head * k_head + token * k_token + at, mask=mask), mask=mask)
    tl.store(place + side, tl.load(v + head * v_head + token * v_token + at, mask=mask), mask=mask)


@jit
def _attend(  # type: ignore[no-untyped-def]
    q, kept, out, slots, firsts, counts, rows, none, scale,
    q_head, q_token, out_token, side, slot_size, head_size, dim,
    GROUPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, DIM: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    tile, head = tl.program_id(0), tl.program_id(1)
    slot, first = tl.load(slots + tile).to(tl.int64), tl.load(firsts + tile)
    count, start = tl.load(counts + tile), tl.load(rows + tile)
    count = tl.where(slot < none, count, 0)
    row, at, key = tl.arange(0, ROWS), tl.arange(0, DIM), tl.arange(0, BLOCK)
    token, query_head = row // GROUPS, head * GROUPS + row % GROUPS
    real = (token < count)[:, None] & (at < dim)[None, :]
    wait(EARLY)
    query = tl.load(
        q + query_head[:, None] * q_head + (start + token)[:, None] * q_token + at[None, :],
        mask=real,
        other=0.0,
    )
    highest = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    found = tl.zeros((ROWS, DIM), tl.float32)
    keys = kept + slot * slot_size + head * head_size
    end = tl.where(count > 0, first + count, 0)
    for begin in range(0, end, BLOCK):
        there = begin + key
        mask = (there < end)[:, None] & (at < dim)[None, :]
        place = there[:, None] * dim + at[None, :]
        block = tl.load(keys + place, mask=mask, other=0.0)
        scores = tl.dot(query, tl.trans(block), input_precision="ieee") * scale
        scores = tl.where(there[None, :] <= (first + token)[:, None], scores, float("-inf"))
        higher = tl.maximum(highest, tl.max(scores, 1))
        shrink, weights = tl.exp(highest - higher), tl.exp(scores - higher[:, None])
        block = tl.load(keys + side + place, mask=mask, other=0.0)
        total = total * shrink + tl.sum(weights, 1)
        found = found * shrink[:, None] + tl.dot(weights.to(block.dtype), block, input_precision="ieee")
        highest = higher
    total = tl.where(total > 0, total, 1.0)  # rows that are none
    place = (start + token)[:, None] * out_token + query_head[:, None] * dim + at[None, :]
    tl.store(out + place, (found / total[:, None]).to(out.dtype.element_ty), mask=real)


def store(
    k: torch.Tensor, v: torch.Tensor, kept: torch.Tensor, slots: torch.Tensor, positions: torch.Tensor
) -> None:
    """k, v (1, K, N, d) to `positions` (N,) of `slots` (N,) in `kept` (2, S, K, tokens, d).

    Tokens whose slot is S or more are kept nowhere.
    """
    _store[(len(slots), k.shape[1])](
        k, v, kept, slots, positions, kept.shape[1],
        k.stride(1), k.stride(2), v.stride(1), v.stride(2), *kept.stride()[:3], k.shape[3],
        DIM=triton.next_power_of_2(k.shape[3]),
    )  # fmt: skip


def attend(
    q: torch.Tensor,
    kept: torch.Tensor,
    out: torch.Tensor,
    tiles: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    tile: int,
    scale: float,
    early: bool = False,
    on: Callable[[Any, tuple[int, ...]], Any] = launched,
) -> None:
    """Causal attention of q (1, H, N, d) to slots in `kept` (2, S, K, tokens, d), into out (1, N, H, d).

    `tiles`: of each its slot, its first token's place in the sequence, how many tokens (at most `tile`), and its first
    row in q. Slots from S on are passed by. `early`: as fused kernels are launched (see `fused_product`).
    `on`: `launched` or `compiled`.
    """
    heads, groups = kept.shape[2], q.shape[1] // kept.shape[2]
    rows = max(LEAST, triton.next_power_of_2(tile * groups))
    dim = max(LEAST, triton.next_power_of_2(q.shape[3]))
    on(_attend, (len(tiles[0]), heads))(
        q, kept, out, *tiles, kept.shape[1], scale,
        q.stride(1), q.stride(2), out.stride(1), *kept.stride()[:3], q.shape[3],
        GROUPS=groups, ROWS=rows, BLOCK=KEYS_BYTES // q.element_size(), DIM=dim,
        num_warps=8 if rows * dim * q.element_size() >= WIDE_BYTES else 4,
        EARLY=early, **({"launch_pdl": True} if early else {}),
    )  # fmt: skip
