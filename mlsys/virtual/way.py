"""What lies between the balancer and one replica in virtual time, bent as `mlsys.faults.detour.Detour` bends it."""

from __future__ import annotations

import asyncio

from mlsys.faults.detour import Rule
from mlsys.serving.balancer.calls import Broken

STRAIGHT = Rule()


class Way:
    """Questions and answers pass whole: where answers are reset, each is longer than `reset_after`."""

    def __init__(self, name: str) -> None:
        self.name, self.rule, self._bent = name, STRAIGHT, asyncio.Event()

    def bend(self, rule: Rule) -> None:
        """From now on, also for what is held."""
        self.rule, before = rule, self._bent
        self._bent = asyncio.Event()
        before.set()

    async def passes(self, answer: bool, posted: bool = True) -> None:
        """When a question or an answer has come through. Raises Broken where the connection is reset."""
        while self.rule.cut or (answer and posted and self.rule.hold_answers):
            await self._bent.wait()
        if answer and self.rule.reset_after is not None:
            raise Broken(f"{self.name}: the connection was reset")
        if self.rule.delay_s:
            await asyncio.sleep(self.rule.delay_s)
