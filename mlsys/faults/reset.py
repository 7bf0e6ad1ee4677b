"""`fault=reset`: connections are reset when so many bytes of an answer have passed: a dying link or middlebox."""

from __future__ import annotations

from mlsys.faults import at_least
from mlsys.faults.detour import Bent, Rule


class Reset(Bent):
    """`after_bytes` of each answer pass, heads included; health checks are answers too."""

    did = "connections to {} were reset"

    def __init__(
        self, name: str, at_s: float, for_s: float, target: str, seed: int, after_bytes: int
    ) -> None:
        super().__init__(name, at_s, target, seed, for_s)
        at_least(name, "after_bytes", after_bytes, 0)
        self.after_bytes = after_bytes

    def made(self) -> Rule:
        """Answers break off."""
        return Rule(reset_after=self.after_bytes)
