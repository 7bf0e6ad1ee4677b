"""Faults that take something from a running process: one of its limits is lowered, and later what it was (Linux)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import ClassVar

from mlsys.faults import Fault, Scene


class Limited(Fault):
    """`resource`: the number of the limit. Only the soft one is moved, which needs no rights to be moved back."""

    virtual = False
    resource: ClassVar[int]

    def allowed(self, scene: Scene, target: str) -> int:
        """What the process may have while the fault lasts."""
        raise NotImplementedError

    def strike(self, scene: Scene, targets: Sequence[str], over: threading.Event) -> None:
        """Lower, wait, give back."""
        before = {
            target: scene.limit(target, self.resource, self.allowed(scene, target)) for target in targets
        }
        try:
            over.wait(self.for_s)
        finally:
            for target, soft in before.items():
                scene.limit(target, self.resource, soft)
