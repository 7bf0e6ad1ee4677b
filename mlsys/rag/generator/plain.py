"""Decoding through transformers' own `generate`: for model families that the slot decoder does not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mlsys.rag.generator.attention import shapes_that_vary
from mlsys.rag.generator.decoding import cut


class PlainDecoder:
    """Left-padded batches, greedy."""

    name = "transformers generate"
    shared_tokens = 0

    def __init__(self, model: Any, ends: frozenset[int], pad: int) -> None:
        self._model, self._ends, self._pad = model, ends, pad

    def warm(self, max_batch: int) -> None:
        """Nothing is prepared ahead."""

    @torch.inference_mode()
    @shapes_that_vary()
    def generate(self, prompts: Sequence[Sequence[int]], max_new_tokens: int, fixed: bool) -> list[list[int]]:
        """New ids of each prompt. `fixed`: exactly `max_new_tokens`, end tokens or not."""
        longest = max(len(ids) for ids in prompts)
        device = self._model.device
        padded = torch.tensor(
            [[self._pad] * (longest - len(ids)) + list(ids) for ids in prompts], device=device
        )
        lengths = torch.tensor([len(ids) for ids in prompts], device=device)[:, None]
        mask = (torch.arange(longest, device=device) >= longest - lengths).long()
        self._model.generation_config.eos_token_id = None if fixed else sorted(self._ends)
        out = self._model.generate(
            input_ids=padded,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=self._pad,
        )
        rows: list[list[int]] = out[:, longest:].tolist()
        return rows if fixed else [cut(row, self._ends) for row in rows]
