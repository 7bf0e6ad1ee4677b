"""One batch size and prompt length of `generator.compile=true`: the fixed tensors, reading prompts, writing a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from mlsys.cuda_graph import GraphPool
from mlsys.rag.generator.attention import PaddedPrefill, Plan, Slots, StaticDecode, additive
from mlsys.rag.generator.decoding import forward
from mlsys.rag.generator.fused_model import Parts
from mlsys.rag.generator.fused_step import FusedStep, Wanted
from mlsys.rag.generator.kv_cache import heads
from mlsys.rag.generator.recorded import recorded
from mlsys.rag.generator.sampling import draw_into
from mlsys.rag.generator.slot_kernels import TILE
from mlsys.rag.generator.stepping import Sampling

MASK_STEP = 16  # attention kernels want aligned masks


class Bucket:
    """The fixed tensors and the two steps of one batch size and prompt length."""

    def __init__(
        self,
        model: Any,
        parts: Parts | None,
        slots: Slots,
        rows: int,
        length: int,
        new: int,
        pool: GraphPool | None,
    ) -> None:
        self._model, self._slots, self._length, self._pool = model, slots, length, pool
        self.columns = -(-(length + new) // MASK_STEP) * MASK_STEP
        device = next(model.parameters()).device
        self.ids = torch.zeros(rows * length, dtype=torch.long, device=device)
        self.last = torch.zeros(rows, dtype=torch.long, device=device)
        self.ends = torch.zeros((rows, 1), dtype=torch.long, device=device)
        self.tokens, self.positions = torch.zeros_like(self.last), torch.zeros_like(self.last)
        self.seen = torch.zeros((rows, 1, 1, self.columns), dtype=model.dtype, device=device)
        self.column = torch.zeros(1, dtype=torch.long, device=device)
        self.out = torch.zeros((rows, new), dtype=torch.long, device=device)
        self.logits = torch.zeros((rows, model.config.vocab_size), dtype=model.dtype, device=device)
        self._each = torch.arange(length, device=device).repeat(rows)
        self._all = torch.arange(self.columns, device=device)[None]
        slots.resize(rows, self.columns)
        self._prefill = PaddedPrefill(slots, rows, length)
        self._decode = StaticDecode(slots, self.seen, self.column)
        self._steps: list[FusedStep] = []
        self._works: tuple[Callable[[], None], ...] = self._read, self._write
        if parts is not None and rows <= parts.most_rows:
            self._works = self._fused(parts, rows)
        self._recorded: tuple[Callable[[], None], ...] = ()

    def compile(self) -> None:
        """Make the fused kernels ready that it launches; nothing runs."""
        for step in self._steps:
            step.compile()

    def record(self) -> tuple[Callable[[], None], ...]:
        """Reading and writing as CUDA graphs, which are recorded once."""
        if not self._recorded:
            self.use()
            self._recorded = tuple(recorded(work, self._pool) for work in self._works)
        return self._recorded

    def _read(self) -> None:
        self.column.fill_(self._length)
        self.positions.copy_(self.ends[:, 0])
        self.seen.copy_(additive(self._all < self.ends, self.seen.dtype)[:, None, None])
        self._keep(self._forward(self.ids, self._each, self._prefill, self.last))

    def _write(self) -> None:
        self.seen.index_fill_(3, self.column, 0)
        logits = self._forward(self.tokens, self.positions, self._decode, 0)
        self.positions.add_(1)
        self.column.add_(1)
        self._keep(logits)

    def _fused(self, parts: Parts, rows: int) -> tuple[Callable[[], None], Callable[[], None]]:
        """Reading, where prompts are short, and writing by the fused kernels.

        They keep a new token right after its prompt, in what is a gap otherwise: there is no mask.
        """
        device, length = self.tokens.device, self._length
        each = torch.arange(rows, device=device)
        gives = each, self.tokens, self.tokens, self.logits
        starts = TILE * torch.arange(rows * length // TILE, device=device)
        tiles = starts // length, starts % length, torch.full_like(starts, TILE), starts
        which, slots = torch.arange(rows * length, device=device), each.repeat_interleave(length)
        self._reads = Wanted(self.ids, which, slots, self._each, self.last, *gives, 0, tiles)
        self._writes = Wanted(self.tokens, each, each, self.positions, each, *gives, rows)
        kept = self._slots.reserve(heads(self._model), device)
        self._steps = [FusedStep(parts, kept, self._writes)]
        write = partial(self._write_fused, self._steps[0])
        if rows * length > parts.most_rows:
            return self._read, write
        self._steps.append(FusedStep(parts, kept, self._reads))
        return partial(self._read_fused, self._steps[1]), write

    def _read_fused(self, step: FusedStep) -> None:
        self.column.fill_(self._length)
        self.positions.copy_(self.ends[:, 0])
        step.run()
        self._note()

    def _write_fused(self, step: FusedStep) -> None:
        step.run()
        self.positions.add_(1)
        self.column.add_(1)
        self._note()

    def _keep(self, logits: torch.Tensor) -> None:
        self.logits.copy_(logits)
        self.tokens.copy_(logits.argmax(-1))
        self._note()

    def _note(self) -> None:
        self.out.index_copy_(1, self.column - self._length, self.tokens[:, None])

    def draw(self, step: int, sampling: Sequence[Sampling], positions: Sequence[int]) -> None:
        """Replace the tokens of `step` that the first rows sample."""
        rows = len(sampling)
        draw_into(self.tokens[:rows], self.logits[:rows], sampling, positions)
        self.out[:rows, step] = self.tokens[:rows]

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor, plan: Plan, keep: Any) -> torch.Tensor:
        return forward(self._model, ids, positions, plan, keep)

    def use(self) -> None:
        """Lay the slots out for this bucket: the same memory serves all of them."""
        self._slots.resize(len(self.last), self.columns)
