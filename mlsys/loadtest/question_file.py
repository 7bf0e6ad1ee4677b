"""Questions from a file of the user's own, alone or as conversations; the columns are known by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlsys.errors import UserError
from mlsys.loadtest import tables
from mlsys.loadtest.questions import Question

OPTION = "loadtest.questions"
MOST_QUESTIONS = 100_000
MOST_CHARS = 64 << 20  # of all together
MOST_TURNS = 64
ASKED = ("question", "query", "prompt", "text", "input", "instruction")
TALKS = ("conversations", "messages")  # ShareGPT's, OpenAI's
SPEAKER, SAYS = ("from", "role"), ("value", "content")
USERS = ("human", "user")


def read(path: str) -> tuple[list[Question], str]:
    """The questions, numbered in the file's order, and a line that says what was found.

    A conversation is its first question with those that follow it; what was answered is not read: the service's own
    answers stand in the history. Raises UserError with the file and the line.
    """
    found, chars, column, skipped = list[Question](), 0, "", 0
    for place, row in tables.rows(OPTION, path):
        if len(found) == MOST_QUESTIONS:
            raise UserError(f"{OPTION}={path} has more than {MOST_QUESTIONS} questions")
        column = column or _column(place, row)
        if column not in row:
            raise UserError(f"{place}: no {column}, which the rows before have")
        texts = _talk(place, row[column]) if column in TALKS else [_text(place, column, row[column])]
        if not texts:
            skipped += 1  # ShareGPT has conversations that begin with nothing of a user's
            continue
        chars += sum(map(len, texts))
        if chars > MOST_CHARS:
            raise UserError(f"{place}: more than {MOST_CHARS} characters of questions")
        found.append(_question(place, row, len(found), texts))
    if not found:
        raise UserError(f"{OPTION}={path} has no questions")
    turns = sum(1 + len(question.then) for question in found)
    what = f"{len(found)} conversations of {turns} turns" if column in TALKS else f"{len(found)} questions"
    nobody = f"; {skipped} in which no user speaks are left out" if skipped else ""
    return found, f"{path}: {what} from {column!r}{nobody}"


def _column(place: str, row: Mapping[str, Any]) -> str:
    for name in (*TALKS, *ASKED):
        if name in row:
            return name
    raise UserError(
        f"{place}: no column {', '.join(ASKED)} or {', '.join(TALKS)}; there are {', '.join(row)}"
    )


def _talk(place: str, content: Any) -> list[str]:
    """What the user says in it."""
    if not isinstance(content, list) or not all(isinstance(one, Mapping) for one in content):
        raise UserError(f"{place}: a conversation must be a list of objects")
    said = []
    for one in content[: 2 * MOST_TURNS]:
        who, what = (next((one[n] for n in names if n in one), None) for names in (SPEAKER, SAYS))
        if who in USERS and isinstance(what, str) and what.strip():
            said.append(what)
    return said[:MOST_TURNS]


def _text(place: str, column: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{place}: {column} must be a text that is not empty")
    return value


def _question(place: str, row: Mapping[str, Any], number: int, texts: Sequence[str]) -> Question:
    """`expect`: what the answer must hold; `output_tokens`: how long it is to be."""
    expect, length = row.get("expect"), row.get("output_tokens")
    if expect is not None and not isinstance(expect, str):
        raise UserError(f"{place}: expect must be a text")
    try:
        tokens = None if length in (None, "") else int(str(length))
    except ValueError:
        tokens = 0
    if tokens is not None and tokens < 1:
        raise UserError(f"{place}: output_tokens={length} must be a whole number of at least 1")
    first = Question(number, texts[0], None, expect or None, tokens)
    later = (
        Question(MOST_QUESTIONS * turn + number, text, None, None, tokens)
        for turn, text in enumerate(texts[1:], 1)
    )
    return replace(first, then=tuple(later))
