"""Whether modes give the same answers: a digest of a run's answers, and a comparison question by question."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mlsys.loadtest.rows import FILE_NAME, OK, Row

Pair = tuple[int, str]


def pairs(rows: Iterable[Row]) -> set[Pair]:
    """The different (question, answer) pairs among the good rows."""
    return {(row.question, row.answer) for row in rows if row.outcome == OK and row.answer is not None}


def digest(found: Iterable[Pair]) -> str:
    """sha256 over the sorted pairs: equal for two runs that asked the same and were told the same."""
    text = "".join(f"{question}\0{answer}\n" for question, answer in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()


def describe(rows: Iterable[Row]) -> dict[str, str | int]:
    """`answers_digest`, `answers.questions`, `answers.differing` (questions with more than one answer)."""
    found = pairs(rows)
    questions = {question for question, _ in found}
    return {
        "answers_digest": digest(found),
        "answers.questions": len(questions),
        "answers.differing": _repeated([question for question, _ in found]),
    }


def _repeated(questions: Sequence[int]) -> int:
    return int(pd.Series(questions, dtype="int64").value_counts().gt(1).sum())


def _by_question(good: pd.DataFrame) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for question, answer in zip(good["question"].tolist(), good["answer"].tolist(), strict=True):
        found.setdefault(question, set()).add(answer)
    return found


@dataclass(frozen=True)
class Comparison:
    """Questions that all runs answered, those answered alike by all, and the ids of the others."""

    common: int
    equal: int
    differing: tuple[int, ...]


def compare_answers(directories: Sequence[Path]) -> Comparison:
    """Compare runs' answers by their `requests.parquet`; all must have asked from the same corpus."""
    answers = []
    for directory in directories:
        table = pd.read_parquet(directory / FILE_NAME, columns=["question", "outcome", "answer"])
        good = table[table["outcome"] == OK]
        answers.append(_by_question(good))
    common = sorted(set(answers[0]).intersection(*answers[1:])) if answers else []
    differing = [question for question in common if len(set().union(*(run[question] for run in answers))) > 1]
    return Comparison(len(common), len(common) - len(differing), tuple(differing))
