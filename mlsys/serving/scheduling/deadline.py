"""`scheduling=deadline`: the earliest deadline first; what cannot be ready in time is refused at once.

Earliest deadline first (Liu and Layland, 1973) meets all deadlines that any order can meet, as long as there are not
too many. Past that point it serves everyone too late, which is why hopeless requests must not enter: a request is
hopeless where the steps that it takes alone, each as long as steps take now, end after its deadline.
"""

from __future__ import annotations

import math
from typing import Unpack

from mlsys.serving.scheduling import Candidate, Key, Policy, Steps

SMOOTHING = 0.1


class Deadline(Policy):
    """By deadline; who named none goes last, by arrival."""

    def __init__(self, name: str, **steps: Unpack[Steps]) -> None:
        super().__init__(name, **steps)
        self.step_s = 0.0

    def key(self, waiting: Candidate) -> Key:
        """The deadline, then when it came."""
        return (math.inf if waiting.deadline is None else waiting.deadline, waiting.arrived_at)

    def is_hopeless(self, waiting: Candidate, now: float) -> bool:
        """Whether its own steps would end too late, even if it entered now."""
        if waiting.deadline is None:
            return False
        steps = math.ceil(waiting.to_read / self.max_step_tokens) + waiting.fewest - 1
        return now + steps * self.step_s > waiting.deadline

    def stepped(self, seconds: float) -> None:
        """Learn how long steps take."""
        self.step_s += (SMOOTHING if self.step_s else 1.0) * (seconds - self.step_s)
