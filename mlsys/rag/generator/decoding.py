"""Decoding of a batch: prompts are read without padding, then all slots write one token a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from mlsys.rag.generator.attention import (
    Decode,
    PaddedPrefill,
    Plan,
    Prefill,
    Slots,
    additive,
    shapes_that_vary,
)
from mlsys.rag.generator.lengths import Lengths
from mlsys.rag.generator.sampling import pick
from mlsys.rag.generator.stepping import Sampling

PASS_TOKENS = 512  # what a pass computes then stays in a core's cache; larger passes were slower
Shared = list[tuple[torch.Tensor, torch.Tensor]]


class Engine(Protocol):
    """Token ids to token ids."""

    name: str
    shared_tokens: int
    decode_kernels: str  # whose a written token's are: `fused`, or `torch` and why

    def warm(self, max_batch: int) -> None:
        """Prepare for batches of up to `max_batch`."""
        ...

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        fixed: Sequence[bool],
        sampling: Sequence[Sampling] = (),
    ) -> list[list[int]]:
        """New ids of each prompt, at least one each and `limits` at most.

        `fixed`: exactly so many, end tokens or not. `sampling`: of each prompt, or none: all are greedy.
        """
        ...


class Decoder:
    """Drives a causal language model that was loaded with `attention.IMPLEMENTATION`.

    `ends`: ids of end tokens. On CUDA prompts are padded to the longest, on a CPU they are packed and the
    tokens in `prefix` (what every prompt starts with) are read only once.
    """

    name = "slots"
    decode_kernels = "torch"

    def __init__(self, model: Any, ends: frozenset[int], prefix: Sequence[int] = ()) -> None:
        self._model, self._ends = model, ends
        self._device = next(model.parameters()).device
        self._padded = self._device.type == "cuda"
        self._prefix_ids = [] if self._padded else list(prefix)
        self._slots = Slots()
        self._shared: Shared | None = None
        self.shared_tokens = len(self._prefix_ids)

    @torch.inference_mode()
    def warm(self, max_batch: int) -> None:
        """Read the shared prefix."""
        if self._prefix_ids:
            self._prefix([[*self._prefix_ids, self._prefix_ids[-1]]])

    @torch.inference_mode()
    @shapes_that_vary()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        fixed: Sequence[bool],
        sampling: Sequence[Sampling] = (),
    ) -> list[list[int]]:
        """New ids of each prompt, each to its own limit. The batch's steps are those of its longest answer."""
        shared = self._prefix(prompts)
        skip = len(self._prefix_ids) if shared else 0
        own = [list(prompt[skip:]) for prompt in prompts]
        longest = max(len(ids) for ids in own)
        self._slots.resize(len(prompts), skip + longest + max(limits))
        read = self._read_padded if self._padded else self._read_packed
        lengths = [len(prompt) for prompt in prompts]
        first = pick(read(own, shared, skip), sampling, lengths)
        self._plan = Decode(self._slots, self._seen(lengths, skip + longest))
        self._plan.column = skip + longest
        return self._write(first, lengths, Lengths(limits, fixed, self._ends), sampling)

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor, plan: Plan, keep: Any = 0) -> torch.Tensor:
        return forward(self._model, ids, positions, plan, keep)

    def _prefix(self, prompts: Sequence[Sequence[int]]) -> Shared | None:
        """The shared prefix's keys and values, if these prompts all start with it and say more."""
        size = len(self._prefix_ids)
        if not size or any(len(p) <= size or list(p[:size]) != self._prefix_ids for p in prompts):
            return None
        if self._shared is None:
            slots = Slots()
            slots.resize(1, size)
            ids, positions = self._tensor(self._prefix_ids), torch.arange(size, device=self._device)
            self._forward(ids, positions, Prefill(slots, [size]), keep=1)
            self._shared = [(keys[0].clone(), values[0].clone()) for keys, values in slots.kept()]
        return self._shared

    def _read_packed(self, own: list[list[int]], shared: Shared | None, skip: int) -> torch.Tensor:
        """Read prompts in passes of about `PASS_TOKENS` tokens; the logits (B, vocabulary) of their ends."""
        found, row = [], 0
        while row < len(own):
            end, tokens = row, 0
            while end < len(own) and (end == row or tokens + len(own[end]) <= PASS_TOKENS):
                tokens, end = tokens + len(own[end]), end + 1
            part = own[row:end]
            lengths = [len(ids) for ids in part]
            positions = torch.cat([torch.arange(skip, skip + n) for n in lengths]).to(self._device)
            plan = Prefill(self._slots, lengths, row, shared)
            last = torch.tensor(lengths, device=self._device).cumsum(0) - 1
            ids = self._tensor([token for prompt in part for token in prompt])
            found.append(self._forward(ids, positions, plan, last))
            row = end
        return torch.cat(found)

    def _read_padded(self, own: list[list[int]], shared: Shared | None, skip: int) -> torch.Tensor:
        rows, longest = len(own), max(len(ids) for ids in own)
        ids = self._tensor(
            [token for prompt in own for token in prompt + [prompt[-1]] * (longest - len(prompt))]
        )
        positions = torch.arange(longest, device=self._device).repeat(rows)
        last = self._tensor([row * longest + len(prompt) - 1 for row, prompt in enumerate(own)])
        return self._forward(ids, positions, PaddedPrefill(self._slots, rows, longest), last)

    def _seen(self, lengths: list[int], longest: int) -> torch.Tensor | None:
        """Mask (B, 1, 1, length) that hides each slot's gap. None where no slot has one."""
        if min(lengths) == longest:
            return None
        columns = torch.arange(self._slots.length, device=self._device)[None]
        ends = self._tensor(lengths)[:, None]
        return additive((columns < ends) | (columns >= longest), self._model.dtype)[:, None, None]

    def _write(
        self, first: torch.Tensor, lengths: list[int], answers: Lengths, sampling: Sequence[Sampling]
    ) -> list[list[int]]:
        tokens, positions, steps = first, self._tensor(lengths), [first]
        while not answers.all_ended(len(steps), tokens[:, None]):
            logits = self._forward(tokens, positions, self._plan)
            tokens = pick(logits, sampling, [length + len(steps) for length in lengths])
            positions = positions + 1
            self._plan.column += 1
            steps.append(tokens)
        return answers.cut(torch.stack(steps, 1).tolist())

    def _tensor(self, ids: Sequence[int]) -> torch.Tensor:
        return torch.tensor(ids, dtype=torch.long, device=self._device)


def forward(model: Any, ids: torch.Tensor, positions: torch.Tensor, plan: Plan, keep: Any) -> torch.Tensor:
    """Logits of `ids` (tokens,): of all (`keep` 0), the last (1), or those whose places `keep` has."""
    out = model(
        input_ids=ids[None], position_ids=positions[None], use_cache=False, plan=plan, logits_to_keep=keep
    )
    logits: torch.Tensor = out.logits[0]
    return logits
