"""The simulated engine with answers that nobody reads: its costs are real, its text is one word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from mlsys.rag.generator import Completion, Prompt, Wanted
from mlsys.rag.generator.simulated import Simulated
from mlsys.rag.generator.simulated_stepper import Costs, SimulatedStepper
from mlsys.rag.generator.stepping import Step
from mlsys.record import Scalar
from mlsys.virtual.cost import Overheads

WORD = "simulated"


class Stepper(SimulatedStepper):
    """Its tokens do not depend on what was read."""

    def _next(self, slot: int) -> int:
        return 0


def _even(size: float) -> float:
    return 1.0


@dataclass(frozen=True, slots=True)
class Shaped(Costs):
    """Costs that are no straight line in the number of sequences: `factor` says how far off it each number is."""

    factor: Callable[[float], float] = _even

    def batch_ms(self, prompts: Sequence[int], limits: Sequence[int]) -> float:
        """As of every engine, times the size's factor."""
        return Costs.batch_ms(self, prompts, limits) * self.factor(len(prompts))

    def step_ms(self, step: Step, context: Callable[[], float] = lambda: 0.0) -> float:
        """As of every engine, times the factor of as many as are in it."""
        return Costs.step_ms(self, step, context) * self.factor(len(step.reads) + len(step.writes))

    def describe(self) -> dict[str, Scalar]:
        """The knobs by name."""
        return {name: value for name, value in Costs.describe(self).items() if name != "factor"}


class Engine(Simulated):
    """`Simulated` without its text, and with what records show of an engine beyond the knobs."""

    stepping = Stepper
    _beyond = Overheads()
    _done_at: float | None = None

    def follow(self, beyond: Overheads) -> None:
        """Take the spread of batches, their shape and what idling costs from here."""
        self._beyond = beyond
        if beyond.shape:
            self._costs = Shaped(**asdict(self._costs), factor=beyond.factor)

    def generate(self, prompts: list[Prompt], wanted: Sequence[Wanted] = ()) -> list[Completion]:
        """As `Simulated`, longer after a pause."""
        if self._done_at is not None and self._beyond.idle_ms:
            self._sleep(self._beyond.woken_ms(self._clock() - self._done_at) / 1e3)
        answers = super().generate(prompts, wanted)
        self._done_at = self._clock()
        return answers

    def _drawn(self, prompts: list[Prompt]) -> float:
        spread = self._beyond.spread
        if not spread or self._exponential:
            return super()._drawn(prompts)
        return spread[int(self._share(prompts) * len(spread))]

    def _answer(self, prompt: Prompt, limit: int, wanted: Wanted) -> Completion:
        return Completion(WORD, limit)

    def text(self, ids: Sequence[int]) -> str:
        """One word, whatever they are."""
        return WORD
