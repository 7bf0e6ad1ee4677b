"""`fault=kill`: SIGKILL. The process is gone at once, its connections break, and nobody was told."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence

from mlsys.faults import Fault, Scene


class Kill(Fault):
    """A moment: whoever keeps the process starts it again, or nobody does."""

    did = "{} was killed"
    ends_it = True

    def __init__(self, name: str, at_s: float, target: str, seed: int) -> None:
        super().__init__(name, at_s, target, seed)

    def strike(self, scene: Scene, targets: Sequence[str], over: threading.Event) -> None:
        """Kill each."""
        for target in targets:
            scene.signal(target, signal.SIGKILL)
