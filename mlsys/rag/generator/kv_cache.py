"""Keys and values of all layers, for slots and for the blocks that sequences share, in one allocation each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from mlsys.distance.language import triton
from mlsys.rag.generator import block_kernels
from mlsys.rag.generator.kv_memory import CPU_SHARE, CUDA_SHARE, Sizes
from mlsys.rag.generator.stepping import Copy

ALIGNED = 64  # bytes of a cache line
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
        heads, dim = kept.heads, kept.dim
        self.slots = zeros((kept.layers, 2, sizes.slots, heads, sizes.slot_tokens, dim), kept.dtype, device)
        self.pool = zeros((sizes.blocks, kept.layers, 2, heads, sizes.block_tokens, dim), kept.dtype, device)
        self._at_once = device.type == "cuda" and triton is not None

    def load(self, copies: Sequence[Copy]) -> None:
        """Blocks into their places in slots."""
        if self._at_once and copies:
            block_kernels.move(self.pool, self.slots, copies, True)
            return
        for copy in copies:
            self._place(copy).copy_(self.pool[copy.block])

    def save(self, copies: Sequence[Copy]) -> None:
        """Places in slots into their blocks, no two into the same."""
        if self._at_once and copies:
            block_kernels.move(self.pool, self.slots, copies, False)
            return
        for copy in copies:
            self.pool[copy.block].copy_(self._place(copy))

    def _place(self, copy: Copy) -> torch.Tensor:
        return self.slots[:, :, copy.slot, :, copy.start : copy.start + self._block_tokens]


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros; on a CPU memory that is taken only where it is written to, which torch's own are not."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    size = math.prod(shape) * dtype.itemsize
    raw = np.zeros(size + ALIGNED, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNED
    return torch.from_numpy(raw[start : start + size]).view(dtype).view(shape)
