"""`fault=no_descriptors`: the process can open no further file or socket (RLIMIT_NOFILE)."""

from __future__ import annotations

import resource

from mlsys.faults import Scene, at_least
from mlsys.faults.limited import Limited
from mlsys.faults.scene import process_of


class NoDescriptors(Limited):
    """`spare`: how many more than it has open now it may have."""

    resource = resource.RLIMIT_NOFILE
    did = "{} could open no further socket"

    def __init__(self, name: str, at_s: float, for_s: float, target: str, seed: int, spare: int) -> None:
        super().__init__(name, at_s, target, seed, for_s)
        at_least(name, "spare", spare, 0)
        self.spare = spare

    def allowed(self, scene: Scene, target: str) -> int:
        """As many as are open."""
        return process_of(scene, target).num_fds() + self.spare
