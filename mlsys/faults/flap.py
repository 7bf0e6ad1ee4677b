"""`fault=flap`: stopped and well in turn. What watches must neither trust it too soon nor give it up for good."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from mlsys.faults import Fault, Scene, at_least
from mlsys.faults.stop import pause


class Flap(Fault):
    """`down_s` stopped, then `up_s` well, and again until `for_s` is over."""

    did = "{} flapped"

    def __init__(
        self, name: str, at_s: float, for_s: float, target: str, seed: int, down_s: float, up_s: float
    ) -> None:
        super().__init__(name, at_s, target, seed, for_s)
        at_least(name, "down_s", down_s, 0.01)
        at_least(name, "up_s", up_s, 0.01)
        self.down_s, self.up_s = down_s, up_s

    def strike(self, scene: Scene, targets: Sequence[str], over: threading.Event) -> None:
        """Down and up until the time is over; it ends well."""
        end = scene.clock() + self.for_s
        while (left_s := end - scene.clock()) > 0 and not over.is_set():
            pause(scene, targets, min(self.down_s, left_s), over)
            over.wait(self.up_s)
