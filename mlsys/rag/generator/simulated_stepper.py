"""The simulated cost model one step at a time: what a lock-step batch costs here is what `generate` costs.

Its keys and values are the tokens themselves, so a scheduler that mixes up slots or blocks gets another answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from mlsys.rag.generator.kv_memory import Sizes
from mlsys.rag.generator.simulated_text import next_token
from mlsys.rag.generator.stepping import Launched, Read, Sampling, Step
from mlsys.record import Scalar


@dataclass(frozen=True, slots=True)
class Costs:
    """The knobs of the cost model, in milliseconds."""

    base_ms: float
    per_request_ms: float
    per_token_ms: float
    per_prompt_token_ms: float = 0.0
    per_sequence_ms: float = 0.0
    per_context_token_ms: float = 0.0

    def read_ms(self, prompts: int, tokens: int = 0) -> float:
        """Of reading prompts that have so many tokens in all, of which so many end."""
        reading = self.per_prompt_token_ms * tokens
        return self.base_ms + self.per_request_ms * prompts + reading if prompts else reading

    def write_ms(self, sequences: int, context: float = 0.0) -> float:
        """Of a token for each of so many sequences, which hold so many tokens in all."""
        each = self.per_sequence_ms * sequences + self.per_context_token_ms * context
        return self.per_token_ms + each if sequences else 0.0

    def batch_ms(self, prompts: Sequence[int], limits: Sequence[int]) -> float:
        """Of a whole batch in step: prompts of so many tokens, answers of so many."""
        cost = self.read_ms(len(prompts), sum(prompts)) + self.per_token_ms * max(limits)
        if self.per_sequence_ms or self.per_context_token_ms:
            held = sum(
                limit * prompt + limit * (limit - 1) / 2
                for prompt, limit in zip(prompts, limits, strict=True)
            )
            cost += self.per_sequence_ms * sum(limits) + self.per_context_token_ms * held
        return cost

    def step_ms(self, step: Step, context: Callable[[], float] = lambda: 0.0) -> float:
        """Of a step: what its prompts cost, and a token where it gives any. `context`: tokens held by who writes."""
        ends = sum(read.last for read in step.reads)
        read = sum(len(read.ids) for read in step.reads) if self.per_prompt_token_ms else 0
        held = context() if self.per_context_token_ms else 0.0
        return self.read_ms(ends, read) + self.write_ms(ends + len(step.writes), held)

    def describe(self) -> dict[str, Scalar]:
        """The knobs by name."""
        return dict(asdict(self))


class SimulatedStep:
    """Done at `until`, a reading of the clock in seconds."""

    def __init__(
        self,
        found: dict[int, int],
        until: float,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._found, self._until, self._sleep, self._clock = found, until, sleep, clock

    def tokens(self) -> dict[int, int]:
        """The tokens, when their time has come."""
        left_s = self._until - self._clock()
        if left_s > 0:
            self._sleep(left_s)
        return self._found

    def done(self) -> bool:
        """Whether it has."""
        return self._clock() >= self._until


class SimulatedStepper:
    """Steps take their time one after the other, as on a device: `launch` returns at once."""

    def __init__(
        self, costs: Costs, sizes: Sizes, sleep: Callable[[float], None], clock: Callable[[], float]
    ) -> None:
        self.slots, self.slot_tokens = sizes.slots, sizes.slot_tokens
        self.blocks, self.block_tokens = sizes.blocks, sizes.block_tokens
        self._costs, self._sizes, self._sleep, self._clock = costs, sizes, sleep, clock
        self._held: list[list[int]] = [[] for _ in range(sizes.slots)]  # what a slot has read
        self._latest: list[int] = [0] * sizes.slots
        self._sampling: list[Sampling] = [Sampling()] * sizes.slots
        self._pool: list[list[int]] = [[] for _ in range(sizes.blocks)]
        self._free_at = 0.0

    def warm(self, max_step_tokens: int) -> None:
        """Nothing to warm."""

    def launch(self, step: Step) -> Launched:
        """Begin when the steps before are done. Raises ValueError for a step that no device could do."""
        for copy in step.loads:
            self._fill(copy.slot, copy.start, self._pool[copy.block])
        found = {read.slot: token for read in step.reads if (token := self._read(read)) is not None}
        found.update({slot: self._write(slot) for slot in step.writes})
        for copy in step.saves:
            block = self._held[copy.slot][copy.start : copy.start + self.block_tokens]
            if len(block) < self.block_tokens:
                raise ValueError(f"{copy}: the slot holds {len(self._held[copy.slot])} tokens")
            self._pool[copy.block] = block
        cost_ms = self._costs.step_ms(step, lambda: sum(len(self._held[slot]) for slot in found))
        self._free_at = max(self._free_at, self._clock()) + cost_ms / 1000
        return SimulatedStep(found, self._free_at, self._sleep, self._clock)

    def _fill(self, slot: int, start: int, ids: list[int]) -> None:
        if start > len(self._held[slot]):
            raise ValueError(f"slot {slot} holds {len(self._held[slot])} tokens, fewer than {start}")
        if start + len(ids) > self.slot_tokens:
            raise ValueError(f"slot {slot} has room for {self.slot_tokens} tokens, not {start + len(ids)}")
        self._held[slot][start:] = ids

    def _read(self, read: Read) -> int | None:
        self._fill(read.slot, read.start, list(read.ids))
        self._sampling[read.slot] = read.sampling
        return self._next(read.slot) if read.last else None

    def _write(self, slot: int) -> int:
        self._fill(slot, len(self._held[slot]), [self._latest[slot]])
        return self._next(slot)

    def _next(self, slot: int) -> int:
        self._latest[slot] = next_token(self._held[slot], self._sampling[slot])
        return self._latest[slot]

    def describe(self) -> dict[str, Scalar]:
        """Its sizes; the bytes are what a small language model's keys and values would take."""
        return self._sizes.describe()
