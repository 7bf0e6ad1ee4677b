"""Clients that leave: a share of the requests of a span of time is given up before the answer has come."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlsys.loadtest.driver import Asks
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import ABANDONED, LEFT, Row


class Leaving:
    """Asks as `client` does. `spans`: from_s, to_s, share, after_s, seed each (`mlsys.faults.client_leave`)."""

    def __init__(self, client: Asks, spans: Sequence[Mapping[str, float]]) -> None:
        self._client, self._spans = client, spans

    async def ask(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
        """Ask, and leave where it is this request's turn to."""
        after_s = self._patience_s(row)
        try:
            async with asyncio.timeout(after_s):
                await self._client.ask(row, question, clock)
        except TimeoutError:
            row.done_s, row.outcome, row.error = clock(), ABANDONED, LEFT

    async def get(self, path: str) -> Any:
        """As `client` does."""
        return await self._client.get(path)

    def _patience_s(self, row: Row) -> float | None:
        for span in self._spans:
            drawn = random.Random(f"{span['seed']:g} {row.id}").random()
            if span["from_s"] <= row.sent_s < span["to_s"] and drawn < span["share"]:
                return span["after_s"]
        return None
