"""Attention over slots: one forward pass reads many prompts without padding, or writes one token for each.

Every pass sees its tokens in one row, `(1, heads, tokens, head_dim)`; a plan says which of them belong
together and where their keys and values are kept. Linear layers thus work on all tokens at once and never on
padding. A slot is one request's row of keys and values: the shared prefix, its prompt, a gap up to the
longest prompt, new tokens. Query heads that share a key head are laid along the query axis, so that keys and
values are read once, not copied. The plan travels to the layers through transformers' attention interface as
the keyword argument `plan`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from mlsys.rag.generator.kv_cache import Heads

IMPLEMENTATION = "mlsys_slots"


class Plan(Protocol):
    """How one forward pass attends."""

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """q (1, H, N, d); k, v (1, K, N, d), K divides H. Returns (1, N, H, d)."""
        ...


class Slots:
    """Keys and values of each layer, (rows, K, length, d), in memory that is kept from batch to batch."""

    def __init__(self) -> None:
        self._memory: dict[int, torch.Tensor] = {}
        self._views: dict[int, torch.Tensor] = {}
        self.rows, self.length = 0, 0

    def resize(self, rows: int, length: int) -> None:
        """Make room for `rows` slots of `length` tokens; the contents are lost."""
        self.rows, self.length = rows, length
        self._views.clear()

    def layer(self, layer: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of a layer, typed and shaped for `like` (1, K, N, d)."""
        if layer in self._views:
            return self._views[layer][0], self._views[layer][1]
        shape = (2, self.rows, like.shape[1], self.length, like.shape[3])
        size = math.prod(shape)
        memory = self._memory.get(layer)
        if memory is None or memory.numel() < size:
            memory = torch.zeros(size, dtype=like.dtype, device=like.device)
            self._memory[layer] = memory
        both = memory[:size].view(shape)
        self._views[layer] = both
        return both[0], both[1]

    def kept(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of all layers, in order."""
        return [(both[0], both[1]) for both in self.memory()]

    def reserve(self, kept: Heads, device: torch.device) -> list[torch.Tensor]:
        """Memory for what a model keeps, before it is first used."""
        like = torch.empty((1, kept.heads, 0, kept.dim), dtype=kept.dtype, device=device)
        for layer in range(kept.layers):
            self.layer(layer, like)
        return self.memory()

    def memory(self) -> list[torch.Tensor]:
        """Keys and values of each layer in one, (2, rows, K, length, d), in order."""
        return [self._views[layer] for layer in sorted(self._views)]


class Prefill:
    """Prompts of any lengths, one after the other in the row, into slots from `first` on.

    `prefix` holds the keys and values (K, P, d) of each layer that all these prompts start with.
    """

    def __init__(
        self,
        slots: Slots,
        lengths: Sequence[int],
        first: int = 0,
        prefix: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None,
    ) -> None:
        self._slots, self._lengths, self._first, self._prefix = slots, lengths, first, prefix
        self.prefix_length = prefix[0][0].shape[1] if prefix else 0
        self._masks: dict[tuple[int, int], torch.Tensor] = {}

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Write each prompt into its slot and attend causally to the prefix and the prompt itself."""
        keys, values = self._slots.layer(layer, k)
        out = torch.empty((1, q.shape[2], q.shape[1], q.shape[3]), dtype=q.dtype, device=q.device)
        start, shared = 0, self.prefix_length
        for row, length in enumerate(self._lengths, self._first):
            stop, end = start + length, shared + length
            if self._prefix:
                keys[row, :, :shared], values[row, :, :shared] = self._prefix[layer]
            keys[row, :, shared:end], values[row, :, shared:end] = k[0, :, start:stop], v[0, :, start:stop]
            groups = q.shape[1] // k.shape[1]
            folded = q[:, :, start:stop].reshape(1, k.shape[1], groups * length, q.shape[3])
            mask = self._mask(length, groups, q)
            found = scaled_dot_product_attention(
                folded,
                keys[row : row + 1, :, :end],
                values[row : row + 1, :, :end],
                attn_mask=mask,
                scale=scale,
            )
            out[:, start:stop] = found.reshape(1, q.shape[1], length, q.shape[3]).transpose(1, 2)
            start = stop
        return out

    def _mask(self, length: int, groups: int, like: torch.Tensor) -> torch.Tensor:
        if (length, groups) not in self._masks:
            seen = torch.ones((length, self.prefix_length + length), dtype=torch.bool, device=like.device)
            self._masks[length, groups] = additive(seen.tril(self.prefix_length), like.dtype).repeat(
                groups, 1
            )
        return self._masks[length, groups]


class PaddedPrefill:
    """Prompts padded on the right to one length: one call for all, where launches cost more than padding.

    A pad token's keys and values land in the gap of its slot, which no later step sees.
    """

    def __init__(self, slots: Slots, rows: int, length: int) -> None:
        self._slots, self._rows, self._length = slots, rows, length

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Write all prompts and attend causally, each row to itself."""
        q, k, v = (self._apart(tensor) for tensor in (q, k, v))
        keys, values = self._slots.layer(layer, k)
        keys[:, :, : self._length], values[:, :, : self._length] = k, v
        gqa = q.shape[1] != k.shape[1]
        found = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=gqa)
        return found.transpose(1, 2).reshape(1, self._rows * self._length, q.shape[1], q.shape[3])

    def _apart(self, tensor: torch.Tensor) -> torch.Tensor:
        """(1, H, B·T, d) to (B, H, T, d)."""
        heads, dim = tensor.shape[1], tensor.shape[3]
        return tensor.view(heads, self._rows, self._length, dim).transpose(0, 1)


class Decode:
    """One token for each slot: written at `column`, attending to what the additive mask `seen` allows.

    `seen` (B, 1, 1, length) in the model's dtype, or None where no slot has a gap.
    """

    def __init__(self, slots: Slots, seen: torch.Tensor | None) -> None:
        self._slots, self._seen = slots, seen
        self.column = 0

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Write the new keys and values, then attend to the columns up to and with them."""
        keys, values = self._slots.layer(layer, k)
        keys[:, :, self.column], values[:, :, self.column] = k[0].transpose(0, 1), v[0].transpose(0, 1)
        end = self.column + 1
        seen = None if self._seen is None else self._seen[..., :end]
        return attend_one(q, keys[:, :, :end], values[:, :, :end], seen, scale)


class StaticDecode:
    """`Decode` with its column in a tensor and the mask over the whole slot: nothing changes but values."""

    def __init__(self, slots: Slots, seen: torch.Tensor, column: torch.Tensor) -> None:
        self._slots, self._seen, self._column = slots, seen, column

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Write the new keys and values, then attend to what the mask allows."""
        keys, values = self._slots.layer(layer, k)
        keys.index_copy_(2, self._column, k[0].transpose(0, 1)[:, :, None])
        values.index_copy_(2, self._column, v[0].transpose(0, 1)[:, :, None])
        return attend_one(q, keys, values, self._seen, scale)


def attend_one(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, seen: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """One query token (1, H, B, d) for each slot (B, K, L, d); `seen` (B, 1, 1, L). Returns (1, B, H, d)."""
    heads, rows, dim = q.shape[1:]
    folded = q[0].transpose(0, 1).reshape(rows, keys.shape[1], heads // keys.shape[1], dim)
    found = scaled_dot_product_attention(folded, keys, values, attn_mask=seen, scale=scale)
    return found.reshape(1, rows, heads, dim)


@contextmanager
def shapes_that_vary() -> Iterator[None]:
    """Attention without cuDNN, for shapes that are not known ahead; also a decorator.

    On recent GPUs cuDNN is torch's first choice for half precision. It builds a plan for every new shape, which takes
    some 70 ms, and while decoding every step has a new one.
    """
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        yield


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where a boolean mask is true, minus infinity elsewhere: the form that attention need not convert."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))


def _forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    plan: Plan,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    layer: Any = module.layer_idx
    return plan.attend(layer, query, key, value, scaling), None


def register() -> None:
    """Make the implementation known to transformers; doing it again changes nothing."""
    from transformers import AttentionInterface

    AttentionInterface.register(IMPLEMENTATION, _forward)
