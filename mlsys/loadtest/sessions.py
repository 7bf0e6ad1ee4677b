"""Conversations: users who ask again, and whose service must read again what was said.

A session's questions belong together whatever the order of sessions is, so a question has always the same ones before
it and its answers can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlsys.loadtest.questions import Question


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
