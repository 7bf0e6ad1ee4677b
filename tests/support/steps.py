"""Steps without threads: a planner and the simulated engine, which answers wrongly if any token of a slot is wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Ids
from typing import Any

from sections import made

from mlsys.rag.generator.kv_memory import Sizes
from mlsys.rag.generator.simulated_stepper import Costs, SimulatedStepper
from mlsys.rag.generator.simulated_text import next_token
from mlsys.rag.generator.stepping import Launched, Step, Stepper
from mlsys.serving.continuous.blocks import PrefixCache
from mlsys.serving.continuous.planner import Plan, Planner
from mlsys.serving.continuous.sequence import Sequence
from mlsys.serving.scheduling import Policy


def policy(name: str = "fcfs", **knobs: Any) -> Policy:
    """What the policy's YAML says, with other knobs."""
    found: Policy = made(f"scheduling/{name}", **knobs)
    return found


def stepper(
    slots: int = 4, slot_tokens: int = 64, blocks: int = 0, block_tokens: int = 4
) -> SimulatedStepper:
    """An engine that takes no time."""
    sizes = Sizes(slots, slot_tokens, blocks, block_tokens, 1)
    return SimulatedStepper(Costs(0, 0, 0), sizes, lambda seconds: None, lambda: 0.0)


def planner(policy: Policy, engine: Stepper, ends: frozenset[int] = frozenset()) -> Planner:
    """The planner of an engine."""
    return Planner(policy, engine.slots, ends, PrefixCache(engine.blocks, engine.block_tokens))


def answer(prompt: Ids[int], tokens: int, ends: frozenset[int] = frozenset()) -> list[int]:
    """What the simulated engine writes to a prompt that it reads alone and whole."""
    ids = list(prompt)
    while len(ids) < len(prompt) + tokens:
        ids.append(next_token(ids))
        if ids[-1] in ends:
            break
    return ids[len(prompt) :]


class Drive:
    """Runs the planner's steps, each launched before the tokens of `ahead` earlier ones are known."""

    def __init__(self, planner: Planner, engine: Stepper, ahead: int = 0) -> None:
        self.planner, self.engine, self.ahead = planner, engine, ahead
        self.flight: deque[tuple[Plan, Launched]] = deque()
        self.steps: list[Step] = []
        self.wrote: list[tuple[Sequence, int]] = []

    def turn(self) -> bool:
        """One step. False if there was nothing to do."""
        plan = self.planner.plan()
        if plan is not None:
            self.steps.append(plan.step)
            self.flight.append((plan, self.engine.launch(plan.step)))
        if self.flight and (plan is None or len(self.flight) > self.ahead):
            oldest, launched = self.flight.popleft()
            told = self.planner.told(oldest, launched.tokens())
            self.wrote += [(sequence, sequence.ids[-1]) for sequence in told]
            return True
        return plan is not None

    def run(self) -> None:
        """To the end."""
        while self.turn():
            if len(self.steps) > 100_000:
                raise RuntimeError("this never ends")
