"""The slot decoder at token level: each step reads pieces of prompts and writes tokens, in one pass.

Greedy float32 answers equal `Decoder`'s whatever the schedule, up to ties: sums of other shapes differ in the last
bits, so two tokens whose logits are equal to six digits or so may change places.
"""

from __future__ import annotations

from typing import Any

import torch

from mlsys.rag.generator.attention import shapes_that_vary
from mlsys.rag.generator.decoding import PASS_TOKENS, forward
from mlsys.rag.generator.kv_cache import Heads, KvCache
from mlsys.rag.generator.kv_memory import Sizes
from mlsys.rag.generator.mixed import Mixed, compiled_loop
from mlsys.rag.generator.placing import placed
from mlsys.rag.generator.sampling import pick
from mlsys.rag.generator.stepping import GREEDY, Read, Sampling, Step
from mlsys.record import Scalar

WARM_TOKENS = 32


class Found:
    """A step's tokens, on their way from the device."""

    def __init__(self) -> None:
        self._parts: list[tuple[dict[int, int], torch.Tensor]] = []
        self._event: torch.cuda.Event | None = None

    def add(self, rows: dict[int, int], tokens: torch.Tensor) -> None:
        """`rows`: slot to its row of `tokens`, which on CUDA is copied to the CPU without waiting."""
        if tokens.device.type == "cuda":
            host = torch.empty(tokens.shape, dtype=tokens.dtype, pin_memory=True)
            host.copy_(tokens, non_blocking=True)
            tokens, self._event = host, torch.cuda.Event()
            self._event.record()
        self._parts.append((rows, tokens))

    def tokens(self) -> dict[int, int]:
        """Slot to new token. Waits until they are there."""
        if self._event is not None:
            self._event.synchronize()
        read = [(rows, tokens.tolist()) for rows, tokens in self._parts]
        return {slot: tokens[row] for rows, tokens in read for slot, row in rows.items()}

    def done(self) -> bool:
        """Whether they are there."""
        return self._event is None or self._event.query()


class SlotStepper:
    """Any model that was loaded with `attention.IMPLEMENTATION`; every pass has the shape that it needs."""

    name = "slots, step by step"

    def __init__(self, model: Any, sizes: Sizes, kept: Heads) -> None:
        self._model, self._sizes = model, sizes
        self.slots, self.slot_tokens = sizes.slots, sizes.slot_tokens
        self.blocks, self.block_tokens = sizes.blocks, sizes.block_tokens
        self._device = next(model.parameters()).device
        self._cache = KvCache(sizes, kept, self._device)
        self._latest = torch.zeros(sizes.slots + 1, dtype=torch.long, device=self._device)
        self._held = [0] * sizes.slots  # tokens whose keys and values a slot has
        self._sampling: list[Sampling] = [GREEDY] * sizes.slots

    def warm(self, max_step_tokens: int) -> None:
        """Run a step of each kind; what is compiled, is then. On a CPU that does not depend on a step's size."""
        most = max_step_tokens if self._device.type == "cuda" else WARM_TOKENS
        size = min(most, self.slot_tokens - 1)
        self.launch(Step((Read(0, [0] * size, 0, True),))).tokens()
        self.launch(Step(writes=(0,))).tokens()

    @torch.inference_mode()
    def launch(self, step: Step) -> Found:
        """Run a step; on CUDA it is only begun."""
        self._cache.load(step.loads)
        self._take(step)
        found = self._pass(step) if step.reads or step.writes else Found()
        self._cache.save(step.saves)
        return found

    def _take(self, step: Step) -> None:
        """Note what the slots will hold. Raises ValueError where that is more than they can."""
        held = self._held
        for read in step.reads:
            held[read.slot] = read.start + len(read.ids)
            self._sampling[read.slot] = read.sampling
        for slot in step.writes:
            held[slot] += 1
        most = self.slot_tokens
        if full := [s for s in (*step.writes, *(read.slot for read in step.reads)) if held[s] > most]:
            raise ValueError(f"slot {full[0]} has room for {most} tokens, not {held[full[0]]}")

    def _pass(self, step: Step) -> Found:
        found = Found()
        for reads, writes in self._parts(step):
            slots, tokens = self._forward(reads, writes)
            found.add({slot: row for row, slot in enumerate(slots)}, tokens)
        return found

    def _parts(self, step: Step) -> list[tuple[list[Read], tuple[int, ...]]]:
        """The step in passes: on a CPU of no more tokens than is fast, as `Decoder` reads."""
        if self._device.type == "cuda":
            return [(list(step.reads), step.writes)]
        parts: list[tuple[list[Read], tuple[int, ...]]] = [([], step.writes)]
        tokens = len(step.writes)
        for read in step.reads:
            if tokens and tokens + len(read.ids) > PASS_TOKENS:
                parts.append(([], ()))
                tokens = 0
            parts[-1][0].append(read)
            tokens += len(read.ids)
        return parts

    @shapes_that_vary()
    def _forward(self, reads: list[Read], writes: tuple[int, ...]) -> tuple[list[int], torch.Tensor]:
        """One pass. Returns which slots are given a token, and the tokens."""
        before = [self._held[slot] - 1 for slot in writes]
        pieces = [(read.slot, read.start, len(read.ids)) for read in reads]
        positions = [*before, *(at for _, start, size in pieces for at in range(start, start + size))]
        ids = self._tensor([token for read in reads for token in read.ids])
        if writes:
            ids = torch.cat([self._latest[self._tensor(writes)], ids])
        places, slots = list(range(len(writes))), list(writes)
        end = len(writes)
        for read in reads:
            end += len(read.ids)
            if read.last:
                places.append(end - 1)
                slots.append(read.slot)
        plan = Mixed(self._cache.slots, writes, before, pieces)
        keep: Any = self._tensor(places) if reads else 0
        logits = forward(self._model, ids, self._tensor(positions), plan, keep)
        tokens = pick(logits, [self._sampling[slot] for slot in slots], [self._held[slot] for slot in slots])
        self._latest[self._tensor(slots)] = tokens
        return slots, tokens

    def _tensor(self, numbers: Any) -> torch.Tensor:
        return placed(numbers, self._device)

    def _attention(self) -> str:
        return (
            "compiled, each slot to its length" if compiled_loop(self._cache.slots) else "masked, all slots"
        )

    def describe(self) -> dict[str, Scalar]:
        """Sizes, and how a written token attends."""
        return {**self._sizes.describe(), "stepper": self.name, "attention": self._attention()}
