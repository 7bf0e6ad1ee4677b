"""`fault=disk_full`: no file of the process may grow. A write fails with EFBIG where a full disk gives ENOSPC."""

from __future__ import annotations

import resource

from mlsys.faults import Scene
from mlsys.faults.limited import Limited


class DiskFull(Limited):
    """RLIMIT_FSIZE is 0 for `for_s` seconds."""

    resource = resource.RLIMIT_FSIZE
    did = "{} could write to no file"

    def allowed(self, scene: Scene, target: str) -> int:
        """Not a byte."""
        return 0
