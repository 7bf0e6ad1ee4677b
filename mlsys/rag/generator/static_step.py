"""One shape of a step at token level: fixed tensors, so that all of it is one CUDA graph where there is CUDA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from mlsys.rag.generator import slot_kernels
from mlsys.rag.generator.attention import additive
from mlsys.rag.generator.decoding import forward
from mlsys.rag.generator.fused_model import Parts
from mlsys.rag.generator.fused_step import FusedStep, Wanted
from mlsys.rag.generator.recorded import pool_on, recorded
from mlsys.rag.generator.slot_kernels import TILE
from mlsys.rag.generator.step_layout import Layout, Piece


class Common:
    """What all shapes share: the model, `kept` (layers, 2, slots, K, tokens, d), each slot's latest token and one for
    none, and the logits of the step that ran last. With `parts` they take the fused kernels.
    """

    def __init__(
        self, model: Any, kept: torch.Tensor, latest: torch.Tensor, parts: Parts | None = None
    ) -> None:
        self.model, self.kept, self.latest, self.parts = model, kept, latest, parts
        self.device, self.none = kept.device, kept.shape[2]
        self.pool = pool_on(self.device)
        rows = 2 * self.none  # each slot writes, or is read to its end
        self.logits = torch.zeros((rows, model.config.vocab_size), dtype=model.dtype, device=self.device)


class StaticStep:
    """The tensors of one shape. `found`: the token that each row gives, `logits` what it was chosen by."""

    def __init__(self, common: Common, rows: int, tokens: int) -> None:
        self._common, self._layout = common, Layout(rows, tokens, common.none)
        self._packed = torch.zeros(self._layout.size, dtype=torch.long, device=common.device)
        self._fill([], [], [])
        self.found = torch.zeros(self._layout.gives, dtype=torch.long, device=common.device)
        self.logits = common.logits[: self._layout.gives]
        self._plan = Tiles(common.kept, {name: self._part(name) for name in self._layout.places}, rows)
        self._fused: FusedStep | None = None
        self._work = self._choice()
        self._run: Callable[[], None] | None = None

    def _part(self, name: str) -> torch.Tensor:
        return self._packed[self._layout.places[name]]

    def _fill(
        self, writes: Sequence[int], positions: Sequence[int], pieces: Sequence[Piece]
    ) -> dict[int, int]:
        packed, rows = self._layout.pack(writes, positions, pieces)
        host = torch.from_numpy(packed)
        if self._common.device.type == "cuda":
            host = host.pin_memory()
        self._packed.copy_(host, non_blocking=True)
        return rows

    def run(self, writes: Sequence[int], positions: Sequence[int], pieces: Sequence[Piece]) -> dict[int, int]:
        """Begin the step: slots `writes` are fed their latest tokens at `positions`, `pieces` are read.

        Returns slot to row of `found`; waits for nothing.
        """
        work = self.record()  # before it has its inputs: recording runs it
        rows = self._fill(writes, positions, pieces)
        work()
        return rows

    def compile(self) -> None:
        """Make ready what it launches, where that is the fused kernels; nothing runs."""
        if self._fused is not None:
            self._fused.compile()

    def record(self) -> Callable[[], None]:
        """The step as a CUDA graph, which is recorded once."""
        if self._run is None:
            self._run = recorded(self._work, self._common.pool)
        return self._run

    def keep(self) -> None:
        """Make `found` each slot's latest token."""
        self._common.latest.index_copy_(0, self._part("given"), self.found)

    def _choice(self) -> Callable[[], None]:
        """The step by torch, or by the fused kernels where the model has `parts` for them."""
        common = self._common
        if common.parts is None or self._layout.rows + self._layout.tokens > common.parts.most_rows:
            return self._plain
        slots, keep, given = (self._part(name) for name in ("slots", "keep", "given"))
        rows, reads = self._layout.rows, self._layout.tokens > 0
        ids = torch.cat([slots[:rows], self._part("ids")]) if reads else common.latest
        which = torch.arange(len(ids), device=common.device) if reads else slots
        self._wanted = Wanted(  # what is recorded points to its tensors
            ids, which, slots, self._part("positions"), keep, given, common.latest, self.found, self.logits,
            rows, self._plan.read if reads else None,
        )  # fmt: skip
        self._fused = FusedStep(common.parts, list(common.kept), self._wanted)
        return partial(self._reading, ids, self._fused) if reads else self._fused.run

    def _reading(self, ids: torch.Tensor, fused: FusedStep) -> None:
        ids.copy_(self._ids())
        fused.run()

    def _ids(self) -> torch.Tensor:
        written = self._common.latest[self._part("slots")[: self._layout.rows]]
        return torch.cat([written, self._part("ids")])

    def _plain(self) -> None:
        common = self._common
        logits = forward(common.model, self._ids(), self._part("positions"), self._plan, self._part("keep"))
        self.logits.copy_(logits)
        self.found.copy_(logits.argmax(-1))
        self.keep()


class Tiles:
    """Attention of one shape: by kernels on CUDA, by their definition elsewhere."""

    def __init__(self, kept: torch.Tensor, inputs: dict[str, torch.Tensor], rows: int) -> None:
        self._kept, self._rows = kept, rows
        self._slots, self._positions = inputs["slots"], inputs["positions"]
        count = len(inputs["tile_slots"])
        each = torch.arange(rows, device=kept.device)
        self._write = (self._slots[:rows], self._positions[:rows], torch.ones_like(each), each)
        starts = rows + TILE * torch.arange(count, device=kept.device)
        self.read = (inputs["tile_slots"], inputs["tile_firsts"], inputs["tile_counts"], starts)

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """q (1, H, N, d); k, v (1, K, N, d), K divides H. Returns (1, N, H, d)."""
        kept = self._kept[layer]
        if kept.device.type != "cuda":
            return _defined(kept, self._slots, self._positions, (q, k, v), scale)
        out = torch.empty((1, q.shape[2], q.shape[1], q.shape[3]), dtype=q.dtype, device=q.device)
        slot_kernels.store(k, v, kept, self._slots, self._positions)
        if self._rows:
            slot_kernels.attend(q, kept, out, self._write, 1, scale)
        if len(self.read[0]):
            slot_kernels.attend(q, kept, out, self.read, TILE, scale)
        return out


def _defined(
    kept: torch.Tensor,
    slots: torch.Tensor,
    positions: torch.Tensor,
    projected: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    scale: float,
) -> torch.Tensor:
    """What the kernels compute, of every token by itself."""
    q, k, v = (tensor[0].transpose(0, 1) for tensor in projected)
    real = slots < kept.shape[1]
    for place, new in zip(kept, (k, v), strict=True):
        place[slots[real], :, positions[real]] = new[real]
    keys, values = kept[:, slots.clamp(max=kept.shape[1] - 1)]
    seen = torch.arange(keys.shape[2], device=keys.device)[None] <= positions[:, None]
    folded = q.reshape(len(q), keys.shape[1], -1, q.shape[2])
    mask = additive(seen, q.dtype)[:, None, None]
    return scaled_dot_product_attention(folded, keys, values, attn_mask=mask, scale=scale).reshape(
        1, *q.shape
    )
