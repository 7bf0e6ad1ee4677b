"""Token level: what a scheduler asks of an engine, one step at a time.

A generator that can be scheduled by tokens has `stepper(...)`. The scheduler decides which sequences share a step, the
engine only computes: it holds a row of keys and values for each slot, the slot's latest token and its sampling.
Memory that sequences share (prefixes) is a pool of blocks; which block holds what is the scheduler's to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mlsys.record import Scalar


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. `temperature` 0 is greedy. What is drawn at a position depends on the logits,
    `seed` and that position only, never on the other sequences of the step.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Copy:
    """One block of the pool and the place in a slot, `start` to `start + block_tokens`, that it goes with."""

    slot: int
    start: int
    block: int


@dataclass(frozen=True, slots=True)
class Read:
    """Tokens to be read into a slot that holds `start` tokens already (read, or loaded from blocks).

    `last`: the sequence ends here, so that the step gives its next token. A sequence that was put off comes back as a
    read of its prompt and what it had written.
    """

    slot: int
    ids: Sequence[int]
    start: int
    last: bool
    sampling: Sampling = GREEDY


@dataclass(frozen=True, slots=True)
class Step:
    """One pass: first `loads` (block to slot), then reads and writes together, then `saves` (slot to block).

    `writes`: slots that get one more token. The token fed is the slot's latest, which the engine keeps: the scheduler
    may launch a step before it has seen the tokens of the one before.
    """

    reads: tuple[Read, ...] = ()
    writes: tuple[int, ...] = ()
    loads: tuple[Copy, ...] = ()
    saves: tuple[Copy, ...] = ()


class Launched(Protocol):
    """A step on its way."""

    def tokens(self) -> dict[int, int]:
        """Slot to new token, for each write and each last read. Waits until they are there."""
        ...

    def done(self) -> bool:
        """Whether `tokens` would not wait."""
        ...


class Stepper(Protocol):
    """An engine at token level. One thread drives it.

    `slots`: sequences at once; `slot_tokens`: tokens that one may have, prompt and answer; `blocks` of `block_tokens`
    tokens: the pool (0 blocks: nothing is shared). All of it was sized by `Generator.stepper` and is never exceeded.
    """

    slots: int
    slot_tokens: int
    blocks: int
    block_tokens: int

    def warm(self, max_step_tokens: int) -> None:
        """Run, compile or capture what the first steps would otherwise wait for."""
        ...

    def launch(self, step: Step) -> Launched:
        """Begin a step after all that were launched before; returns as soon as the device has it."""
        ...

    def describe(self) -> dict[str, Scalar]:
        """What the record should say: `slots`, `slot_tokens`, `kv_bytes`, `blocks`, `block_tokens`, …"""
        ...
