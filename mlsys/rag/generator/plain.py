"""Decoding through transformers' own `generate`: for model families that the slot decoder does not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mlsys.rag.generator.attention import shapes_that_vary
from mlsys.rag.generator.lengths import Lengths
from mlsys.rag.generator.sampling import pick
from mlsys.rag.generator.stepping import Sampling


class PlainDecoder:
    """Left-padded batches."""

    name = "transformers generate"
    shared_tokens = 0
    decode_kernels = "torch"

    def __init__(self, model: Any, ends: frozenset[int], pad: int) -> None:
        self._model, self._ends, self._pad = model, ends, pad

    def warm(self, max_batch: int) -> None:
        """Nothing is prepared ahead."""

    @torch.inference_mode()
    @shapes_that_vary()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        fixed: Sequence[bool],
        sampling: Sequence[Sampling] = (),
    ) -> list[list[int]]:
        """New ids of each prompt, each to its own limit."""
        longest = max(len(ids) for ids in prompts)
        device = self._model.device
        padded = torch.tensor(
            [[self._pad] * (longest - len(ids)) + list(ids) for ids in prompts], device=device
        )
        lengths = torch.tensor([len(ids) for ids in prompts], device=device)[:, None]
        mask = (torch.arange(longest, device=device) >= longest - lengths).long()
        self._model.generation_config.eos_token_id = None if any(fixed) else sorted(self._ends)
        out = self._model.generate(
            input_ids=padded,
            attention_mask=mask,
            max_new_tokens=max(limits),
            do_sample=False,
            num_beams=1,
            pad_token_id=self._pad,
            logits_processor=[_Drawn(sampling, [longest - len(ids) for ids in prompts])] if sampling else [],
        )
        return Lengths(limits, fixed, self._ends).cut(out[:, longest:].tolist())


class _Drawn:
    """Leaves transformers' greedy search only what `sampling` draws. `padding`: tokens before each prompt."""

    def __init__(self, sampling: Sequence[Sampling], padding: Sequence[int]) -> None:
        self._sampling, self._padding = sampling, padding

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (B, vocabulary) of which one is left in each row."""
        drawn = pick(scores, self._sampling, [ids.shape[1] - padding for padding in self._padding])
        return torch.full_like(scores, float("-inf")).scatter_(1, drawn[:, None], 0.0)
