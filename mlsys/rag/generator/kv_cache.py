"""Keys and values of all layers, for slots and for the blocks that sequences share, in one allocation each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from mlsys.rag.generator.kv_memory import CPU_SHARE, CUDA_SHARE, Sizes
from mlsys.rag.generator.stepping import Copy

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Heads:
    """What a model keeps of a token: `layers` times keys and values of `heads` heads of `dim` numbers."""

    layers: int
    heads: int
    dim: int
    dtype: torch.dtype

    @property
    def token_bytes(self) -> int:
        """Of one token's keys and values."""
        return 2 * self.layers * self.heads * self.dim * self.dtype.itemsize


def heads(model: Any) -> Heads:
    """Of a transformers model."""
    config = model.config
    queries = config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // queries
    return Heads(
        config.num_hidden_layers, getattr(config, "num_key_value_heads", None) or queries, dim, model.dtype
    )


def free_bytes(device: torch.device) -> int:
    """How much of the memory that is free now keys and values may take."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * CUDA_SHARE)
    free = psutil.virtual_memory().available
    limit, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return int(max(0, free) * CPU_SHARE)


class KvCache:
    """`slots` (layers, 2, slots, K, slot_tokens, d) and `pool` (blocks, layers, 2, K, block_tokens, d)."""

    def __init__(self, sizes: Sizes, kept: Heads, device: torch.device) -> None:
        self._block_tokens = sizes.block_tokens
        how: dict[str, Any] = {"dtype": kept.dtype, "device": device}
        self.slots = torch.zeros(
            (kept.layers, 2, sizes.slots, kept.heads, sizes.slot_tokens, kept.dim), **how
        )
        self.pool = torch.zeros(
            (sizes.blocks, kept.layers, 2, kept.heads, sizes.block_tokens, kept.dim), **how
        )

    def load(self, copy: Copy) -> None:
        """A block into its place in a slot."""
        self._place(copy).copy_(self.pool[copy.block])

    def save(self, copy: Copy) -> None:
        """A place in a slot into its block."""
        self.pool[copy.block].copy_(self._place(copy))

    def _place(self, copy: Copy) -> torch.Tensor:
        return self.slots[:, :, copy.slot, :, copy.start : copy.start + self._block_tokens]
