"""`fault=clock_jump`: the wall clock of a process is set, as NTP or a person does; its monotonic clock goes on.

`time.time()` in the process is moved; nothing else of the machine is. It is told by eight bytes of a file that both
sides map (`mlsys.faults.wall_clock`), for which the process is started with the folder's name in its environment.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlsys.faults import Fault, Scene, wall_clock


class ClockJump(Fault):
    """`jump_s`: forwards, or backwards where it is negative; after `for_s` the clock is right again."""

    virtual = False
    did = "the clock of {} was wrong"

    def __init__(self, name: str, at_s: float, for_s: float, target: str, seed: int, jump_s: float) -> None:
        super().__init__(name, at_s, target, seed, for_s)
        self.jump_s = jump_s
        self._folder = Path()

    def environment(self, directory: str) -> Mapping[str, str]:
        """Where the processes look how wrong their clock is."""
        self._folder = Path(directory) / "clocks"
        return {wall_clock.VARIABLE: str(self._folder)}

    def strike(self, scene: Scene, targets: Sequence[str], over: threading.Event) -> None:
        """Set it, wait, set it right."""
        try:
            for target in targets:
                wall_clock.set_offset(self._folder, target, self.jump_s)
            over.wait(self.for_s)
        finally:
            for target in targets:
                wall_clock.set_offset(self._folder, target, 0.0)
