"""`fault=slow`: a share of a core. The process runs, and is stopped most of each tenth of a second.

A cgroup's CPU quota does the same: it lets a process run for a part of each period. This needs no rights.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from mlsys.faults import Fault, Scene, between
from mlsys.faults.stop import pause

PERIOD_S = 0.1


class Slow(Fault):
    """`share`: of each tenth of a second in which it runs."""

    did = "{} had a share of a core"

    def __init__(self, name: str, at_s: float, for_s: float, target: str, seed: int, share: float) -> None:
        super().__init__(name, at_s, target, seed, for_s)
        between(name, "share", share, 0, 1)
        self.share = share

    def strike(self, scene: Scene, targets: Sequence[str], over: threading.Event) -> None:
        """Stop and go, period after period."""
        end = scene.clock() + self.for_s
        while scene.clock() < end and not over.is_set():
            pause(scene, targets, PERIOD_S * (1 - self.share), over)
            over.wait(PERIOD_S * self.share)
