"""`fault=stop`: SIGSTOP, later SIGCONT. Connections are taken by the kernel and nobody answers: a host that swaps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence

from mlsys.faults import Fault, Scene


class Stop(Fault):
    """For `for_s` seconds."""

    did = "{} was stopped"

    def strike(self, scene: Scene, targets: Sequence[str], over: threading.Event) -> None:
        """Stop each, and let all go on."""
        pause(scene, targets, self.for_s, over)


def pause(scene: Scene, targets: Sequence[str], for_s: float, over: threading.Event) -> None:
    """SIGSTOP, wait, SIGCONT: whatever happens in between, nothing stays stopped."""
    try:
        for target in targets:
            scene.signal(target, signal.SIGSTOP)
        over.wait(for_s)
    finally:
        for target in targets:
            scene.signal(target, signal.SIGCONT)
