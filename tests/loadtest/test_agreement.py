from __future__ import annotations

from pathlib import Path

import pandas as pd

from mlsys.loadtest.agreement import compare_answers, describe
from mlsys.loadtest.rows import FAILED, FILE_NAME, OK, Row, write


def rows(*answers: tuple[int, str], outcome: str = OK) -> list[Row]:
    return [Row(0, 0, question=question, answer=answer, outcome=outcome) for question, answer in answers]


def test_the_digest_is_of_questions_and_answers_not_of_their_order() -> None:
    one, again = describe(rows((1, "a"), (2, "b"))), describe(rows((2, "b"), (1, "a"), (1, "a")))
    assert one["answers_digest"] == again["answers_digest"]
    assert one["answers_digest"] != describe(rows((1, "b"), (2, "a")))["answers_digest"]
    assert (one["answers.questions"], one["answers.differing"]) == (2, 0)


def test_a_question_with_two_answers_is_told() -> None:
    found = describe(rows((1, "a"), (1, "b"), (2, "c")) + rows((2, "x"), outcome=FAILED))
    assert (found["answers.questions"], found["answers.differing"]) == (2, 1)


def test_a_question_asked_for_two_lengths_is_no_disagreement() -> None:
    short, long = (Row(0, 0, question=1, max_tokens=n, answer=str(n), outcome=OK) for n in (8, 64))
    other = Row(0, 0, question=1, max_tokens=8, answer="other", outcome=OK)
    assert (describe([short, long])["answers.questions"], describe([short, long])["answers.differing"]) == (
        1,
        0,
    )
    assert describe([short, long, other])["answers.differing"] == 1
    assert describe([short])["answers_digest"] != describe(rows((1, "8")))["answers_digest"]


def test_runs_are_compared_at_equal_lengths_and_files_of_older_runs_can_be_read(tmp_path: Path) -> None:
    given = {"a": [(1, 8, "x"), (1, 64, "xy"), (2, 8, "z")], "b": [(1, 8, "x"), (1, 64, "xx"), (2, 9, "z")]}
    for name, answers in given.items():
        (tmp_path / name).mkdir()
        write(
            tmp_path / name,
            [Row(0, 0, question=q, max_tokens=n, answer=a, outcome=OK) for q, n, a in answers],
        )
    found = compare_answers([tmp_path / "a", tmp_path / "b"])
    assert (found.common, found.equal, found.differing) == (2, 1, ("1:64",))
    older = pd.read_parquet(tmp_path / "a" / FILE_NAME).drop(columns="max_tokens")
    older.to_parquet(tmp_path / "a" / FILE_NAME)
    assert compare_answers([tmp_path / "a"]).common == 2


def test_runs_are_compared_question_by_question(tmp_path: Path) -> None:
    runs = {"a": rows((1, "x"), (2, "y"), (3, "z")), "b": rows((1, "x"), (2, "other"), (4, "z"))}
    for name, given in runs.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name, given)
    found = compare_answers([tmp_path / "a", tmp_path / "b"])
    assert (found.common, found.equal, found.differing) == (2, 1, ("2",))
    assert compare_answers([tmp_path / "a"]).equal == 3
