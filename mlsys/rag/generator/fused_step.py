"""A step of a model of llama's kind by the fused kernels: five a layer and three around them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch

from mlsys.distance.language import compiled, launched, triton
from mlsys.rag.generator import fused_kernels as kernels
from mlsys.rag.generator import slot_kernels
from mlsys.rag.generator.fused_attention import attend
from mlsys.rag.generator.fused_model import Layer, Parts
from mlsys.rag.generator.fused_tiles import SHARED, SMALL, Product, Shape, span, splits

Kept = Sequence[torch.Tensor]  # of each layer (2, slots, K, tokens, d)
LEAST = 16  # queries of a tile, for `tl.dot`
JOINING = 8  # columns of one row's attention at least: each program joins its spans anew
PADDED = 128  # rows of what several rows share: a whole number of any tile's
EARLY_FROM = (9, 0)  # compute capability with programmatic dependent launch
PROCESSORS = 132  # where there is no device to ask


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a step reads and gives, all in fixed tensors of whole numbers; `none` is the slot of what is kept nowhere.

    Row i's token is `tokens[which[i]]`, at `positions[i]` of `slots[i]`. The first `writes` rows are alone in their
    slots. The others are pieces of prompts in `tiles` of up to `tile` tokens (see `slot_kernels.attend`). Rows `keep`
    give `logits` and the tokens `found`, which become `latest` of the slots `given`.
    """

    tokens: torch.Tensor
    which: torch.Tensor
    slots: torch.Tensor
    positions: torch.Tensor
    keep: torch.Tensor
    given: torch.Tensor
    latest: torch.Tensor
    found: torch.Tensor
    logits: torch.Tensor
    writes: int
    tiles: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor] | None = None
    tile: int = slot_kernels.TILE


class FusedStep:
    """Launches a step; what changes is in tensors, so that it may be recorded."""

    def __init__(self, parts: Parts, kept: Kept, wanted: Wanted) -> None:
        self._parts, self._kept, self._wanted = parts, kept, wanted
        self._on = launched
        device, self._rows = wanted.slots.device, len(wanted.slots)
        on_cuda = device.type == "cuda"
        found: Any = torch.cuda.get_device_properties(device) if on_cuda else None
        count = found.multi_processor_count if on_cuda else PROCESSORS
        shared = int(getattr(found, "shared_memory_per_block_optin", SHARED))
        early = on_cuda and torch.cuda.get_device_capability(device) >= EARLY_FROM
        self._early: dict[str, Any] = {"EARLY": early, **({"launch_pdl": True} if early else {})}
        self._splits = splits(parts.keys, count) if self._rows == 1 else 1
        self._most_parts = triton.next_power_of_2(parts.embedding.shape[1] // LEAST)
        self.span = span(
            wanted.writes * parts.keys, self._splits, parts.dim * parts.embedding.itemsize, shared
        )
        self.products = products(parts, self._rows, len(wanted.keep))
        self.tiles: dict[str, Shape] = {
            name: product.shape(count, shared) for name, product in self.products.items()
        }

    def compile(self) -> None:
        """Make its kernels ready, and run none of them."""
        one = copy(self)  # its memory goes with it
        one._on = compiled
        one.run()

    def run(self) -> None:
        """Begin the step."""
        self.allocate()
        parts, wanted, width = self._parts, self._wanted, self._hidden.shape[1]
        self._on(kernels.embed, (self._rows,))(
            wanted.tokens, wanted.which, parts.embedding, parts.layers[0].norm, self._hidden, self._scaled,
            self._sums["down"], self._sums["down"].shape[1], WIDTH=width, BLOCK=triton.next_power_of_2(width),
            PARTS=self._most_parts, SEVERAL=self._rows > 1,
        )  # fmt: skip
        following = [*(layer.norm for layer in parts.layers[1:]), parts.norm]
        for layer, kept, norm in zip(parts.layers, self._kept, following, strict=True):
            self.qkv(layer, kept)
            self.attend(kept)
            self.add("out", layer.out, layer.inner_norm)
            self.swiglu(layer)
            self.add("down", layer.down, norm)
        self.vocabulary()

    def allocate(self) -> None:
        """Memory of this step only. Rows that pad it to whole tiles may hold anything: they go nowhere."""
        parts, kind = self._parts, self._parts.embedding.dtype
        rows, outs = padded(self._rows), padded(len(self._wanted.keep))
        width, heads, inner = (self.products[name].width for name in ("swiglu", "out", "down"))
        blocks = -(-len(parts.head) // self.tiles["vocabulary"]["COLS"])
        self._hidden, self._queries = self._room(kind, rows, width), self._room(kind, rows, heads)
        self._scaled = self._room(kind, rows, width)
        self._sums = {
            name: self._room(torch.float32, rows, width // self.tiles[name]["COLS"])
            for name in ("out", "down")
        }
        wide = torch.float32 if self._splits > 1 else kind
        self._attended = self._room(wide, rows, self._splits, heads)
        self._ends = self._room(torch.float32, rows, self._splits, parts.queries)
        self._inner = self._room(kind, rows, inner)
        self._tops, self._tokens = (
            self._room(torch.float32, outs, blocks),
            self._room(torch.int32, outs, blocks),
        )

    def _room(self, kind: torch.dtype, *shape: int) -> torch.Tensor:
        device = self._wanted.slots.device
        make = torch.empty if device.type == "cuda" else torch.zeros  # NumPy, which interprets, warns of nan
        return make(shape, dtype=kind, device=device)

    def _grid(self, name: str) -> tuple[int, int]:
        product, tile = self.products[name], self.tiles[name]
        return -(-product.rows // tile["ROWS"]), -(-product.columns // tile["COLS"])

    def _normed(self, name: str, by: str) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Rows to be normalised, the parts of their sums of squares that `by` wrote, and how many."""
        sums = self._sums[by]
        return self._hidden if self.tiles[name]["ROWS"] == 1 else self._scaled, sums, sums.shape[1]

    def qkv(self, layer: Layer, kept: torch.Tensor) -> None:
        """Queries, and keys and values to their places."""
        parts, wanted, (keys, values) = self._parts, self._wanted, kept
        rows = self._normed("qkv", "down")
        self._on(kernels.qkv, self._grid("qkv"))(
            *rows, layer.norm, layer.heads, layer.bias, layer.head_norms, parts.cosines, parts.sines,
            self._queries, keys, values, wanted.slots, wanted.positions, self._rows, len(keys), parts.epsilon,
            *keys.stride()[:2],
            WIDTH=self._hidden.shape[1], QUERIES=parts.queries, KEYS=parts.keys, DIM=parts.dim,
            BIASED=layer.bias is not None, HEADED=layer.head_norms is not None,
            PARTS=self._most_parts, **self.tiles["qkv"], **self._early,
        )  # fmt: skip

    def attend(self, kept: torch.Tensor) -> None:
        """Each row to its slot."""
        parts, wanted, (keys, values) = self._parts, self._wanted, kept
        groups = parts.queries // parts.keys
        if wanted.writes:
            self._on(attend, (wanted.writes, parts.keys, self._splits))(
                self._queries, keys, values, self._attended, self._ends, wanted.slots, wanted.positions,
                len(keys), parts.scale, *keys.stride()[:2],
                QUERIES=parts.queries, GROUPS=groups, DIM=parts.dim, SPLITS=self._splits,
                ROWS=max(LEAST, triton.next_power_of_2(groups)), **self.span, **self._early,
            )  # fmt: skip
        if wanted.tiles is not None:
            queries = self._queries.view(1, -1, parts.queries, parts.dim)
            out = self._attended.view(queries.shape)
            slot_kernels.attend(
                queries.transpose(1, 2), kept, out, wanted.tiles, wanted.tile, parts.scale,
                self._early["EARLY"], self._on,
            )  # fmt: skip

    def swiglu(self, layer: Layer) -> None:
        """Into the inner width."""
        rows = self._normed("swiglu", "out")
        self._on(kernels.swiglu, self._grid("swiglu"))(
            *rows, layer.inner_norm, layer.gate, self._inner, self._parts.epsilon,
            WIDTH=self._hidden.shape[1], COLUMNS=self._inner.shape[1],
            PARTS=self._most_parts, **self.tiles["swiglu"], **self._early,
        )  # fmt: skip

    def add(self, name: str, weight: torch.Tensor, norm: torch.Tensor) -> None:
        """What attention (`out`) or the inner width (`down`) gives, to the rows, which `norm` follows."""
        x, spans = (self._attended, self._splits) if name == "out" else (self._inner, 1)
        self._on(kernels.linear_add, self._grid(name))(
            x, self._ends, weight, self._hidden, norm, self._scaled, self._sums[name],
            WIDTH=weight.shape[1], COLUMNS=len(weight), DIM=self._parts.dim, SPLITS=spans,
            **self.tiles[name], **self._early,
        )  # fmt: skip

    def vocabulary(self) -> None:
        """Logits and tokens."""
        parts, wanted, blocks = self._parts, self._wanted, self._tops.shape[1]
        rows = self._normed("vocabulary", "down")
        self._on(kernels.vocabulary, self._grid("vocabulary"))(
            *rows, wanted.keep, parts.norm, parts.head, wanted.logits, self._tops, self._tokens,
            len(wanted.keep), parts.epsilon, WIDTH=self._hidden.shape[1], VOCABULARY=len(parts.head),
            PARTS=self._most_parts, **self.tiles["vocabulary"], **self._early,
        )  # fmt: skip
        self._on(kernels.argmax, (len(wanted.keep),))(
            self._tops, self._tokens, wanted.found, wanted.latest, wanted.given, blocks,
            BLOCKS=triton.next_power_of_2(blocks), **self._early,
        )  # fmt: skip


def padded(rows: int) -> int:
    """One, or a whole number of tiles."""
    return rows if rows == 1 else -(-rows // PADDED) * PADDED


def products(parts: Parts, rows: int, outs: int) -> dict[str, Product]:
    """The matrix products of a step of `rows`, of which `outs` give a token."""
    layer, item = parts.layers[0], parts.embedding.itemsize
    columns, width, large = len(layer.gate), parts.embedding.shape[1], layer.multiplied > SMALL
    whole = layer.head_norms is not None  # a head's norm is over all of it
    return {
        "qkv": Product("qkv", rows, width, len(layer.heads), parts.dim, item, large=large, whole=whole),
        "out": Product("out", rows, layer.out.shape[1], width, width, item, JOINING, large),
        "swiglu": Product("swiglu", rows, width, columns, columns, item, large=large),
        "down": Product("down", rows, layer.down.shape[1], width, width, item, large=large),
        "vocabulary": Product("vocabulary", outs, width, len(parts.head), PADDED, item, large=large),
    }
