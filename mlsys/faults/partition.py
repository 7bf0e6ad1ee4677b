"""`fault=partition`: between balancer and replica no byte passes, either way, and no connection is refused.

A proxy stands between them. Without replicas it stands between the clients and the service.
"""

from __future__ import annotations

from mlsys.faults.detour import Bent, Rule


class Partition(Bent):
    """For `for_s` seconds."""

    did = "{} could not be reached"

    def made(self) -> Rule:
        """Nothing passes."""
        return Rule(cut=True)
