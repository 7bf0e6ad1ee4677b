"""Whether modes give the same answers: a digest of a run's answers, and a comparison question by question."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import FILE_NAME, OK, Row

Asked = tuple[int, int | None]  # a question, and how long its answer was asked to be
Pair = tuple[Asked, str]


def pairs(rows: Iterable[Row]) -> set[Pair]:
    """The different (what was asked, answer) pairs among the good rows."""
    good = (row for row in rows if row.outcome == OK)
    return {((row.question, row.max_tokens), row.answer) for row in good if row.answer is not None}


def digest(found: Iterable[Pair]) -> str:
    """sha256 over the sorted pairs: equal for two runs that asked the same and were told the same."""
    order = sorted(found, key=lambda pair: (pair[0][0], pair[0][1] or 0, pair[1]))
    text = "".join(f"{_name(asked)}\0{answer}\n" for asked, answer in order)
    return hashlib.sha256(text.encode()).hexdigest()


def _name(asked: Asked) -> str:
    question, max_tokens = asked
    return str(question) if max_tokens is None else f"{question}:{max_tokens}"


def describe(rows: Sequence[Row]) -> dict[str, str | int]:
    """`answers_digest`, `answers.questions`, `answers.differing`: how often one thing asked had several answers.

    `answers_digest.measured`: without warm-up and cool-down, whose number depends on the mode.
    What is asked is a question and a length: where lengths are drawn, one question can be asked for several.
    """
    found = pairs(rows)
    asked = Counter(asked for asked, _ in found)
    return {
        "answers_digest": digest(found),
        "answers_digest.measured": digest(pairs(row for row in rows if row.phase == MEASURED)),
        "answers.questions": len({question for question, _ in asked}),
        "answers.differing": sum(count > 1 for count in asked.values()),
    }


def _by_asked(path: Path) -> dict[Asked, set[str]]:
    from pyarrow.parquet import read_schema

    names = set(read_schema(path).names) & {"question", "outcome", "answer", "max_tokens"}
    table = pd.read_parquet(path, columns=sorted(names))
    good = table[(table["outcome"] == OK) & table["answer"].notna()]
    limits = good["max_tokens"].tolist() if "max_tokens" in good else [None] * len(good)
    found: dict[Asked, set[str]] = {}
    for question, limit, answer in zip(
        good["question"].tolist(), limits, good["answer"].tolist(), strict=True
    ):
        found.setdefault((question, None if pd.isna(limit) else limit), set()).add(answer)
    return found


@dataclass(frozen=True)
class Comparison:
    """What all runs were asked and answered: how much it is, how much of it was answered alike, and the rest.

    A question is named by its id, with a length by both: `2`, `2:64`.
    """

    common: int
    equal: int
    differing: tuple[str, ...]


def compare_answers(directories: Sequence[Path]) -> Comparison:
    """Compare runs' answers by their `requests.parquet`; all must have asked from the same corpus."""
    answers = [_by_asked(directory / FILE_NAME) for directory in directories]
    common = set(answers[0]).intersection(*answers[1:]) if answers else set()
    differing = {asked for asked in common if len(set().union(*(run[asked] for run in answers))) > 1}
    order = sorted(differing, key=lambda asked: (asked[0], asked[1] or 0))
    return Comparison(len(common), len(common) - len(differing), tuple(map(_name, order)))
