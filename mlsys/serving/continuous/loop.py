"""The thread that runs the steps: it plans, launches, and tells of the tokens.

On a device of its own (`ahead` 1) step n + 1 is launched before the tokens of step n are read, so that the device never
waits for this thread. On a CPU there is nothing to overlap with: `ahead` 0 tells each token a step earlier.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Protocol

from mlsys.rag.generator.stepping import Launched, Stepper
from mlsys.serving.continuous.planner import Plan, Planner
from mlsys.serving.continuous.sequence import Sequence
from mlsys.serving.realtime import Changed
from mlsys.serving.request import Clock


class Observer(Protocol):
    """Who is told what happens, in the loop's thread."""

    def planned(self, plan: Plan) -> None:
        """A step is about to be launched."""

    def wrote(self, plan: Plan, sequences: list[Sequence], seconds: float) -> None:
        """The step took so long, and these have one more token each."""

    def hopeless(self, sequences: list[Sequence]) -> None:
        """Their deadlines cannot be met, they were refused."""

    def failed(self, sequences: list[Sequence], error: Exception) -> None:
        """They cannot be answered: a step that they were alone in raised."""


class Loop:
    """Drives `stepper` as `planner` says, and tells `observer`."""

    def __init__(
        self,
        stepper: Stepper,
        planner: Planner,
        observer: Observer,
        ahead: int,
        clock: Clock = time.perf_counter,
        changed: Changed | None = None,
    ) -> None:
        self.stepper, self.planner, self.ahead = stepper, planner, ahead
        self._observer, self._clock = observer, clock
        self.busy_since: float | None = None
        self.changed: Changed = changed or threading.Event()
        self._coming: deque[Sequence] = deque()
        self._leaving: deque[Sequence] = deque()
        self.stopping = False
        self._flight: deque[tuple[Plan, Launched]] = deque()

    @property
    def waiting(self) -> int:
        """How many have no slot."""
        return len(self._coming) + len(self.planner.waiting)

    def add(self, sequence: Sequence) -> None:
        """From any thread: it is to be answered."""
        self._coming.append(sequence)
        self.changed.set()

    def remove(self, sequence: Sequence) -> None:
        """From any thread: nobody waits for it any more."""
        self._leaving.append(sequence)
        self.changed.set()

    def stop(self) -> None:
        """From any thread: no further step is begun."""
        self.stopping = True
        self.changed.set()

    def stalled(self, after_s: float) -> bool:
        """Whether one step has been running for longer than `after_s`."""
        since = self.busy_since
        return since is not None and self._clock() - since > after_s

    def run(self) -> None:
        """Until `stop`: run the steps of those who come, wait while there is nothing to do."""
        while not self.stopping:
            self.changed.clear()
            if not self.turn():
                self.changed.wait()

    def turn(self) -> bool:
        """Launch one step, read the tokens of the oldest one under way. False if there was nothing to do."""
        self._take_in()
        plan = self.planner.plan()
        if plan is None and not self._flight:
            return False
        launched = list[Plan]() if plan is None else [plan]
        try:
            if plan is not None:
                self._launch(plan)
                launched = []
            if plan is None or len(self._flight) > self.ahead:
                self._read()
        except Exception as error:
            self._failed(error, [*(plan for plan, _ in self._flight), *launched])
        return True

    def _take_in(self) -> None:
        while self._leaving:  # before those who come: of one who came and left, nothing is planned
            self.planner.remove(self._leaving.popleft())
        while self._coming:
            sequence = self._coming.popleft()
            if not sequence.ended:
                self.planner.add(sequence)
        if hopeless := self.planner.hopeless(self._clock()):
            self._observer.hopeless(hopeless)

    def _launch(self, plan: Plan) -> None:
        plan.launched_at = self._clock()
        if self.busy_since is None:
            self.busy_since = plan.launched_at
        self._observer.planned(plan)
        before = self._flight[-1][1] if self._flight else None
        launched = self.stepper.launch(plan.step)
        plan.late = before is not None and before.done()  # the device had nothing to do meanwhile
        self._flight.append((plan, launched))

    def _read(self) -> None:
        plan, launched = self._flight[0]
        tokens = launched.tokens()
        self._flight.popleft()
        now, since = self._clock(), max(plan.launched_at, self.busy_since or 0.0)
        self.busy_since = now if self._flight else None
        self.planner.policy.stepped(now - since)
        self._observer.wrote(plan, self.planner.told(plan, tokens), now - since)

    def _failed(self, error: Exception, plans: list[Plan]) -> None:
        """Nothing under way can be trusted any more."""
        self._flight.clear()
        self.busy_since = None
        if blamed := self.planner.failed(plans):
            self._observer.failed(blamed, error)
