"""Who leaves: a share of those who ask in a span of time, the same for the same seed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlsys.loadtest import gate
from mlsys.loadtest.leaving import Leaving
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import ABANDONED, LEFT, OK, Row

QUESTION = Question(0, "?", None)
SPAN = {"from_s": 1.0, "to_s": 2.0, "share": 0.5, "after_s": 0.0, "seed": 0.0}


class Slow:
    """Answers in the next rounds of the event loop."""

    async def ask(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
        await asyncio.sleep(0.001)
        row.outcome = OK

    async def get(self, path: str) -> Any:
        return None


async def asked(sent_s: float, number: int) -> Row:
    row = Row(0, 0, id=number, sent_s=sent_s)
    await Leaving(Slow(), [SPAN]).ask(row, QUESTION, lambda: 9.0)
    return row


async def test_about_half_of_those_who_ask_in_the_span_leave_and_nobody_else() -> None:
    inside = [await asked(1.5, number) for number in range(60)]
    outside = [await asked(sent_s, number) for number in range(30) for sent_s in (0.9, 2.0)]
    left = [row for row in inside if row.outcome == ABANDONED]
    assert 15 < len(left) < 45
    assert {(row.error, row.done_s) for row in left} == {(LEFT, 9.0)}
    assert {row.outcome for row in outside} == {OK}
    again = [await asked(1.5, number) for number in range(60)]
    assert [row.outcome for row in again] == [row.outcome for row in inside]


async def test_a_level_waits_for_its_gate_and_takes_it_away(tmp_path: Path) -> None:
    waiting = asyncio.create_task(gate.passed(tmp_path, 0))
    gate.open_for(tmp_path, 1)
    await asyncio.sleep(0.03)
    assert not waiting.done()
    gate.open_for(tmp_path, 0)
    await waiting
    assert [path.name for path in tmp_path.iterdir()] == ["gate.1"]
