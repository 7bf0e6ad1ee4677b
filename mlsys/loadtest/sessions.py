"""Conversations: users who ask again, and whose service must read again what was said.

A session's questions belong together whatever the order of sessions is, so a question has always the same ones before
it and its answers can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import Row
from mlsys.record import Scalar

MOST_TURNS = 16  # that are told one by one


def sessions(questions: Sequence[Question], turns: int) -> list[Question]:
    """Sessions of at most so many turns, each its first question with the others as `then`.

    Conversations of a file are cut; questions that stand alone are put together in their order. Those left over at the
    end are not asked. Where there are too few for one session they come again, as questions of their own.
    """
    if turns == 1 or any(question.then for question in questions):
        return [replace(question, then=question.then[: turns - 1]) for question in questions]
    again = [
        replace(question, id=question.id + turn * len(questions))
        for turn in range(-(-turns // len(questions)))
        for question in questions
    ]
    whole = again[: max(turns, len(questions))]
    return [
        replace(whole[at], then=tuple(whole[at + 1 : at + turns]))
        for at in range(0, len(whole) - turns + 1, turns)
    ]


def following(asked: Question, answer: str | None) -> Question | None:
    """The next question of the session with all that was said; None: it is over, or broken off without an answer."""
    if not asked.then or answer is None:
        return None
    said = ({"role": "user", "content": asked.text}, {"role": "assistant", "content": answer})
    return replace(asked.then[0], then=asked.then[1:], history=(*asked.history, *said))


def turns(good: Sequence[Row]) -> dict[str, Scalar]:
    """`turn.<i>.{requests,e2e_ms.p50,ttft_ms.p50,prompt_tokens.mean}` of sessions: what a growing history costs."""
    found: dict[int, list[Row]] = {}
    for row in good:
        if row.turn is not None and row.turn < MOST_TURNS:
            found.setdefault(row.turn, []).append(row)
    values: dict[str, Scalar] = {}
    for turn in sorted(found):
        rows, of = found[turn], f"turn.{turn}"
        values[f"{of}.requests"] = len(rows)
        for name in ("e2e_ms", "ttft_ms"):
            if told := [value for row in rows if (value := getattr(row, name)) is not None]:
                values[f"{of}.{name}.p50"] = float(np.median(told))
        if read := [row.prompt_tokens for row in rows if row.prompt_tokens is not None]:
            values[f"{of}.prompt_tokens.mean"] = float(np.mean(read))
    return values
