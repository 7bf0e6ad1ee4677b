"""The loop's own account of a device that had to wait for it."""

from __future__ import annotations

from steps import planner, policy

from mlsys.rag.generator.kv_memory import Sizes
from mlsys.rag.generator.simulated_stepper import Costs, SimulatedStepper
from mlsys.serving.continuous.loop import Loop
from mlsys.serving.continuous.planner import Plan
from mlsys.serving.continuous.sequence import Sequence


class Watching:
    """Keeps the plans; telling of a step takes as long as the device's clock is put on."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.now, self.telling_s = 0.0, 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def planned(self, plan: Plan) -> None:
        self.plans.append(plan)
        self.now += self.telling_s

    def wrote(self, plan: Plan, sequences: list[Sequence], seconds: float) -> None: ...

    def hopeless(self, sequences: list[Sequence]) -> None: ...

    def failed(self, sequences: list[Sequence], error: Exception) -> None:
        raise error


def late(telling_s: float, ahead: int) -> list[bool]:
    """Of each step of 0.1 s whether the device waited for it."""
    seen = Watching()
    seen.telling_s = telling_s
    costs = Costs(base_ms=100.0, per_request_ms=0.0, per_token_ms=100.0)
    engine = SimulatedStepper(costs, Sizes(2, 64, 0, 4, 1), seen.sleep, lambda: seen.now)
    loop = Loop(engine, planner(policy(), engine), seen, ahead, lambda: seen.now)
    loop.add(Sequence([5, 6, 7], 4, exact=True))
    while loop.turn():
        pass
    return [plan.late for plan in seen.plans]


def test_a_step_is_late_where_the_one_before_is_done_when_it_comes() -> None:
    assert late(0.01, 1) == [False] * 4
    assert late(0.25, 1) == [False, True, True, True]
    assert late(0.25, 0) == [False] * 4
