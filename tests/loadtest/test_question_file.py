from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlsys.errors import UserError
from mlsys.loadtest import question_file
from mlsys.loadtest.questions import Question

SHAREGPT: list[dict[str, Any]] = [
    {"id": "a", "conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
    {"id": "b", "conversations": [{"from": "gpt", "value": "Hello."}]},
    {
        "id": "c",
        "conversations": [
            {"from": "human", "value": "Who?"},
            {"from": "gpt", "value": "He."},
            {"from": "human", "value": "And now?"},
        ],
    },
]


def written(path: Path, rows: Any) -> str:
    text = json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows))
    path.write_text(text)
    return str(path)


def test_questions_with_what_is_expected_of_their_answers(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "expect": "so", "output_tokens": 8}, {"prompt": "Who?"}]
    found, about = question_file.read(written(tmp_path / "q.jsonl", rows))
    assert found == [Question(0, "Why?", None, "so", 8), Question(1, "Who?", None)]
    assert about == f"{tmp_path}/q.jsonl: 2 questions from 'prompt'"


def test_a_csv_may_leave_cells_empty(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("question,output_tokens,expect\nWhy?,,\nWho?,5,he\n")
    found, _ = question_file.read(str(tmp_path / "q.csv"))
    assert found == [Question(0, "Why?", None), Question(1, "Who?", None, "he", 5)]


def test_conversations_in_sharegpts_form_are_their_users_words(tmp_path: Path) -> None:
    found, about = question_file.read(written(tmp_path / "s.json", SHAREGPT))
    assert [question.text for question in found] == ["Why?", "Who?"]
    assert [one.text for one in found[1].then] == ["And now?"]
    assert len({one.id for question in found for one in (question, *question.then)}) == 3
    assert about.endswith(
        "2 conversations of 3 turns from 'conversations'; 1 in which no user speaks are left out"
    )


def test_messages_in_openais_form(tmp_path: Path) -> None:
    talk = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}]
    found, _ = question_file.read(written(tmp_path / "m.jsonl", [{"messages": talk}]))
    assert [question.text for question in found] == ["Why?"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1}], ", line 1: no column question, query, prompt"),
        ([{"text": "x"}, {"query": "y"}], ", line 2: no text, which the rows before have"),
        ([{"text": " "}], ", line 1: text must be a text that is not empty"),
        (
            [{"text": "x", "output_tokens": 0}],
            ", line 1: output_tokens=0 must be a whole number of at least 1",
        ),
        ([{"text": "x", "expect": 4}], ", line 1: expect must be a text"),
        ([{"messages": "hello"}], ", line 1: a conversation must be a list of objects"),
        ([SHAREGPT[1]], " has no questions"),
    ],
)
def test_what_is_no_question_is_named_with_its_line(tmp_path: Path, rows: Any, message: str) -> None:
    path = written(tmp_path / "q.jsonl", rows)
    with pytest.raises(UserError) as caught:
        question_file.read(path)
    assert str(caught.value).startswith(f"loadtest.questions={path}{message}")


def test_questions_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "q.jsonl", [{"text": "x" * 10}] * 3)
    monkeypatch.setattr(question_file, "MOST_CHARS", 25)
    with pytest.raises(UserError, match="line 3: more than 25 characters of questions"):
        question_file.read(path)
    monkeypatch.setattr(question_file, "MOST_QUESTIONS", 2)
    with pytest.raises(UserError, match="has more than 2 questions"):
        question_file.read(path)
