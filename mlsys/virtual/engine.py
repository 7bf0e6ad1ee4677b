"""The simulated engine with answers that nobody reads: its costs are real, its text is one word."""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.rag.generator import Completion, Prompt, Wanted
from mlsys.rag.generator.simulated import Simulated
from mlsys.rag.generator.simulated_stepper import SimulatedStepper

WORD = "simulated"


class Stepper(SimulatedStepper):
    """Its tokens do not depend on what was read."""

    def _next(self, slot: int) -> int:
        return 0


class Engine(Simulated):
    """`Simulated` without its text."""

    stepping = Stepper
    spread: tuple[
        float, ...
    ] = ()  # what a batch takes as a multiple of its cost, at equal steps of probability

    def _drawn(self, prompts: list[Prompt]) -> float:
        if not self.spread or self._exponential:
            return super()._drawn(prompts)
        return self.spread[int(self._share(prompts) * len(self.spread))]

    def _answer(self, prompt: Prompt, limit: int, wanted: Wanted) -> Completion:
        return Completion(WORD, limit)

    def text(self, ids: Sequence[int]) -> str:
        """One word, whatever they are."""
        return WORD
