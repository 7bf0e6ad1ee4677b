"""Blocks go where they belong, one by one or all in one launch."""

from __future__ import annotations

import torch

from mlsys.rag.generator import block_kernels
from mlsys.rag.generator.kv_cache import Heads, KvCache
from mlsys.rag.generator.kv_memory import Sizes
from mlsys.rag.generator.stepping import Copy

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
COPIES = [Copy(1, 0, 5), Copy(1, 4, 2), Copy(1, 8, 3), Copy(0, 4, 0), Copy(2, 4, 1), Copy(2, 0, 6)]


def cache() -> KvCache:
    made = KvCache(
        Sizes(slots=3, slot_tokens=12, blocks=7, block_tokens=4, token_bytes=256),
        Heads(2, 2, 8, torch.float32),
        DEVICE,
    )
    made.pool.copy_(torch.randn(made.pool.shape, generator=torch.Generator().manual_seed(0)))
    return made


def test_what_is_moved_at_once_is_what_is_moved_one_by_one() -> None:
    one_by_one, at_once = cache(), cache()
    one_by_one.load(COPIES)
    block_kernels.move(at_once.pool, at_once.slots, COPIES, True)
    assert torch.equal(one_by_one.slots, at_once.slots)
    assert torch.equal(one_by_one.slots[:, :, 1, :, 8:], one_by_one.pool[3])
    assert not one_by_one.slots[:, :, 0, :, :4].any()
    saves = [Copy(1, 8, 5), Copy(0, 4, 4)]
    one_by_one.save(saves)
    block_kernels.move(at_once.pool, at_once.slots, saves, False)
    assert torch.equal(one_by_one.pool, at_once.pool)
    assert torch.equal(one_by_one.pool[5], one_by_one.pool[3])
