"""Blocks go where they belong, one by one or side by side in one launch."""

from __future__ import annotations

import torch

from mlsys.rag.generator.kv_cache import Heads, KvCache, runs
from mlsys.rag.generator.kv_memory import Sizes
from mlsys.rag.generator.stepping import Copy

COPIES = [Copy(1, 0, 5), Copy(1, 4, 2), Copy(1, 8, 3), Copy(0, 4, 0), Copy(2, 4, 1), Copy(2, 0, 6)]


def cache() -> KvCache:
    made = KvCache(
        Sizes(slots=3, slot_tokens=12, blocks=7, block_tokens=4, token_bytes=256),
        Heads(2, 2, 8, torch.float32),
        torch.device("cpu"),
    )
    made.pool.copy_(torch.randn(made.pool.shape, generator=torch.Generator().manual_seed(0)))
    return made


def test_copies_that_lie_side_by_side_in_a_slot_go_together() -> None:
    assert runs(COPIES, 4) == [COPIES[:3], [COPIES[3]], [COPIES[4]], [COPIES[5]]]


def test_loaded_together_is_loaded_one_by_one() -> None:
    one_by_one, together = cache(), cache()
    one_by_one.load(COPIES)
    for run in runs(COPIES, 4):
        together.load_run(run)
    assert torch.equal(one_by_one.slots, together.slots)
    assert torch.equal(one_by_one.slots[:, :, 1, :, 8:], one_by_one.pool[3])
    assert not one_by_one.slots[:, :, 0, :, :4].any()
