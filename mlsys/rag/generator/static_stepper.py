"""`generator.compile=true` at token level: steps of a few shapes, each recorded as a CUDA graph beforehand.

A step that writes is one graph, and so is one that reads pieces of prompts beside it: a small model's pass takes about
as long with some hundred tokens more.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Any

import torch

from mlsys.distance.language import why_not
from mlsys.errors import UserError
from mlsys.rag.generator.fused_model import parts_for
from mlsys.rag.generator.kv_cache import Heads
from mlsys.rag.generator.kv_memory import Sizes
from mlsys.rag.generator.recorded import prepare
from mlsys.rag.generator.sampling import draw_into
from mlsys.rag.generator.slot_kernels import TILE
from mlsys.rag.generator.slot_stepper import Found, SlotStepper
from mlsys.rag.generator.static_step import Common, StaticStep
from mlsys.rag.generator.step_layout import Piece, groups
from mlsys.rag.generator.stepping import GREEDY, Step
from mlsys.record import Scalar

FEWEST_TOKENS = 64  # of the smallest shape that reads
MORE_TOKENS = 16 * TILE  # beyond a step's own: pieces take whole tiles
DEFAULT_STEP_TOKENS = 512  # where nobody has warmed


class StaticStepper(SlotStepper):
    """Steps whose shapes are known ahead: `rows` that write and `tokens` that are read."""

    def __init__(self, model: Any, sizes: Sizes, kept: Heads) -> None:
        super().__init__(model, sizes, kept)
        on_cuda = self._device.type == "cuda"
        if on_cuda and (reason := why_not("cuda")) is not None:
            raise UserError(f"generator.compile=true with server=continuous {reason}")
        self.name = "CUDA graphs, step by step" if on_cuda else "static shapes, step by step"
        parts, self._kernels = parts_for(model, self.slot_tokens)
        self._common = Common(model, self._cache.slots, self._latest, parts)
        self._rows = _doubling(1, self.slots)
        self._mixed_rows = sorted({*self._rows[::2], self.slots})
        self._tokens = _doubling(FEWEST_TOKENS, DEFAULT_STEP_TOKENS)
        self._steps: dict[tuple[int, int], StaticStep] = {}
        self._warm_s = 0.0

    @torch.inference_mode()
    def warm(self, max_step_tokens: int) -> None:
        """Record every shape."""
        longest = -(-max_step_tokens // TILE) * TILE + MORE_TOKENS
        self._tokens = _doubling(FEWEST_TOKENS, longest)
        shapes = [(rows, tokens) for rows in self._mixed_rows for tokens in self._tokens]
        shapes = sorted([*shapes, *((rows, 0) for rows in self._rows)], key=lambda shape: -sum(shape))
        started, common = time.perf_counter(), self._common
        steps = [self._made(*shape) for shape in shapes]
        prepare(steps, self.name, common.pool, fused=common.parts is not None)
        self._warm_s = time.perf_counter() - started

    def _made(self, rows: int, tokens: int) -> StaticStep:
        if (rows, tokens) not in self._steps:
            self._steps[rows, tokens] = StaticStep(self._common, rows, tokens)
        return self._steps[rows, tokens]

    def _shape(self, writes: int, pieces: list[Piece]) -> StaticStep:
        tokens = sum(piece.size for piece in pieces)
        if not tokens:
            return self._made(self._rows[bisect_left(self._rows, writes)], 0)
        rows = self._mixed_rows[bisect_left(self._mixed_rows, writes)]
        return self._made(rows, self._tokens[bisect_left(self._tokens, tokens)])

    def _pass(self, step: Step) -> Found:
        pieces = [Piece(read.slot, read.start, read.ids, read.last) for read in step.reads]
        found = Found()
        writes = list(step.writes)
        for group in groups(pieces, self._tokens[-1]):
            shape = self._shape(len(writes), group)
            rows = shape.run(writes, [self._held[slot] - 1 for slot in writes], group)
            self._draw(shape, rows)
            found.add(rows, shape.found)
            writes = []
        return found

    def _draw(self, shape: StaticStep, rows: dict[int, int]) -> None:
        """Replace the tokens of sequences that are not greedy."""
        if all(self._sampling[slot].temperature == 0 for slot in rows):
            return
        sampling, positions = [GREEDY] * len(shape.found), [0] * len(shape.found)
        for slot, row in rows.items():
            sampling[row], positions[row] = self._sampling[slot], self._held[slot]
        draw_into(shape.found, shape.logits, sampling, positions)
        shape.keep()

    def describe(self) -> dict[str, Scalar]:
        """Also whose kernels a step takes, how many shapes are there, and how long those took that were prepared."""
        shapes: dict[str, Scalar] = {"shapes": len(self._steps), "warm_s": round(self._warm_s, 3)}
        return {**super().describe(), "decode_kernels": self._kernels, **shapes}

    def _attention(self) -> str:
        return "kernels, each slot to its length" if self._device.type == "cuda" else "defined, all slots"


def _doubling(least: int, most: int) -> list[int]:
    sizes = [least]
    while sizes[-1] < most:
        sizes.append(min(sizes[-1] * 2, most))
    return sizes
