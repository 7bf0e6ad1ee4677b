"""`fault=restart_rolling`: SIGTERM to one replica after the other, each when the one before is back: an upgrade."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence

from mlsys.faults import ALL, Fault, Scene, at_least

POLL_S = 0.05


class RestartRolling(Fault):
    """`pause_s` between one replica's return and the next one's end; `most_s` waits for a return."""

    did = "{} were restarted one by one"
    replicas_only = True

    def __init__(self, name: str, at_s: float, seed: int, pause_s: float, most_s: float) -> None:
        super().__init__(name, at_s, ALL, seed)
        at_least(name, "pause_s", pause_s, 0)
        at_least(name, "most_s", most_s, 0)
        self.pause_s, self.most_s = pause_s, most_s

    def strike(self, scene: Scene, targets: Sequence[str], over: threading.Event) -> None:
        """End each, wait until it is out of rotation and in again."""
        for target in targets:
            scene.signal(target, signal.SIGTERM)
            for wanted in (False, True):
                end = scene.clock() + self.most_s
                while scene.in_rotation(target) != wanted and scene.clock() < end and not over.is_set():
                    over.wait(POLL_S)
            over.wait(self.pause_s)
