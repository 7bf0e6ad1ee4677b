"""Attention of one pass that reads pieces of some prompts and writes one token of other sequences.

The tokens lie in one row: first one for each write, then the pieces. Linear layers see them all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from mlsys.rag.generator.attention import additive, attend_one
from mlsys.rag.generator.placing import placed

Piece = tuple[int, int, int]  # slot, tokens that it holds already, tokens read
SPARSE = 2  # so many times as many slots as are written: keys and values are gathered instead


class Mixed:
    """`writes` (slots) at `positions`, then `pieces`, over `kept` (layers, 2, slots, K, tokens, d)."""

    def __init__(
        self, kept: torch.Tensor, writes: Sequence[int], positions: Sequence[int], pieces: Sequence[Piece]
    ) -> None:
        self._kept, self._pieces = kept, pieces
        self._masks: dict[tuple[int, int, int], torch.Tensor] = {}
        self._writes = len(writes)
        self._attend_writes: _Compiled | _Masked | None = None
        if writes:
            loop = compiled_loop(kept)
            self._attend_writes = (
                _Compiled(loop, kept, writes, positions) if loop else _Masked(kept, writes, positions)
            )

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """q (1, H, N, d); k, v (1, K, N, d), K divides H. Returns (1, N, H, d)."""
        cut = self._writes
        out = torch.empty((1, q.shape[2], q.shape[1], q.shape[3]), dtype=q.dtype, device=q.device)
        if self._attend_writes is not None:
            newest = (tensor[0, :, :cut].transpose(0, 1).contiguous() for tensor in (q, k, v))
            self._attend_writes(layer, tuple(newest), scale, out[0, :cut])
        start = cut
        for slot, held, size in self._pieces:
            stop = start + size
            keys, values = self._kept[layer, :, slot, :, : held + size]
            keys[:, held:], values[:, held:] = k[0, :, start:stop], v[0, :, start:stop]
            groups = q.shape[1] // k.shape[1]
            folded = q[:, :, start:stop].reshape(1, k.shape[1], groups * size, q.shape[3])
            found = scaled_dot_product_attention(
                folded, keys[None], values[None], attn_mask=self._mask(held, size, groups, q), scale=scale
            )
            out[:, start:stop] = found.reshape(1, q.shape[1], size, q.shape[3]).transpose(1, 2)
            start = stop
        return out

    def _mask(self, held: int, size: int, groups: int, like: torch.Tensor) -> torch.Tensor:
        if (held, size, groups) not in self._masks:
            seen = torch.ones((size, held + size), dtype=torch.bool, device=like.device).tril(held)
            self._masks[held, size, groups] = additive(seen, like.dtype).repeat(groups, 1)
        return self._masks[held, size, groups]


class _Masked:
    """By torch's own attention over a range of slots, up to the longest."""

    def __init__(self, kept: torch.Tensor, writes: Sequence[int], positions: Sequence[int]) -> None:
        device, span = kept.device, max(writes) + 1
        self._kept, self._dense = kept, span <= SPARSE * len(writes)
        self._slots = placed(writes, device)
        self._positions = placed(positions, device)
        self._columns = max(positions) + 1
        ends = torch.zeros(span, dtype=torch.long, device=device)
        ends[self._slots] = self._positions
        ends = ends if self._dense else self._positions
        seen = torch.arange(self._columns, device=device)[None] <= ends[:, None]
        self._seen = additive(seen, kept.dtype)[:, None, None]

    def __call__(
        self,
        layer: int,
        newest: tuple[torch.Tensor, ...],
        scale: float,
        out: torch.Tensor,
    ) -> None:
        q, k, v = newest
        keys, values = self._kept[layer]
        keys[self._slots, :, self._positions], values[self._slots, :, self._positions] = k, v
        if self._dense:
            rows = self._seen.shape[0]
            spread = q.new_zeros((rows, *q.shape[1:]))
            spread[self._slots] = q
            keys, values = keys[:rows, :, : self._columns], values[:rows, :, : self._columns]
        else:
            spread = q
            keys, values = keys[self._slots, :, : self._columns], values[self._slots, :, : self._columns]
        found = attend_one(spread.transpose(0, 1)[None], keys, values, self._seen, scale)[0]
        out.copy_(found[self._slots] if self._dense else found)


def compiled_loop(kept: torch.Tensor) -> Callable[..., None] | None:
    """The loop that reads each slot to its own length, where it serves: it runs in one thread and knows float32."""
    serves = kept.device.type == "cpu" and kept.dtype == torch.float32 and torch.get_num_threads() == 1
    return _loop() if serves else None


@lru_cache
def _loop() -> Callable[..., None] | None:
    """None where Numba is not there, or not for this NumPy."""
    try:
        from mlsys.rag.generator.numba_attention import store_and_attend
    except ImportError:
        return None
    loop: Callable[..., None] = store_and_attend
    return loop


class _Compiled:
    """By `loop`."""

    def __init__(
        self, loop: Callable[..., None], kept: torch.Tensor, writes: Sequence[int], positions: Sequence[int]
    ) -> None:
        self._loop, self._kept = loop, kept
        self._slots, self._positions = np.array(writes), np.array(positions)
        self._weights = np.empty(max(positions) + 1, dtype=np.float32)

    def __call__(self, layer: int, newest: tuple[torch.Tensor, ...], scale: float, out: torch.Tensor) -> None:
        arrays = [tensor.numpy() for tensor in (*newest, self._kept[layer])]
        self._loop(*arrays, self._slots, self._positions, np.float32(scale), out.numpy(), self._weights)
