"""`fault=hang`: answers stop while `/ready` and `/health` go on: a deadlocked engine behind a living event loop.

A proxy between balancer and replica holds what comes back from a POST. Without replicas it stands between the client
and the service. What was held comes when the fault ends, if anybody still waits.
"""

from __future__ import annotations

from mlsys.faults.detour import Bent, Rule


class Hang(Bent):
    """For `for_s` seconds."""

    did = "{} gave no answers, though its health checks went on"

    def made(self) -> Rule:
        """Answers to questions are held."""
        return Rule(hold_answers=True)
