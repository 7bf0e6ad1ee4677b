"""`fault=oom`: the process gets no further memory (RLIMIT_AS): allocations fail where an OOM killer would kill."""

from __future__ import annotations

import resource

from mlsys.faults import Scene, at_least
from mlsys.faults.limited import Limited
from mlsys.faults.scene import process_of


class Oom(Limited):
    """`spare_mib`: how much more than it has mapped now it may map. For the kernel's own way see `fault=kill`."""

    resource = resource.RLIMIT_AS
    did = "{} got no further memory"

    def __init__(
        self, name: str, at_s: float, for_s: float, target: str, seed: int, spare_mib: float
    ) -> None:
        super().__init__(name, at_s, target, seed, for_s)
        at_least(name, "spare_mib", spare_mib, 0)
        self.spare_mib = spare_mib

    def allowed(self, scene: Scene, target: str) -> int:
        """As much as is mapped."""
        return process_of(scene, target).memory_info().vms + int(self.spare_mib * 2**20)
