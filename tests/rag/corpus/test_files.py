"""One's own files: every kind that is read, what is skipped and why, how text is cut."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from sections import made as option

from mlsys.errors import UserError
from mlsys.rag.corpus.files import Files


def words(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S+", text)]


def loaded(path: Path, **knobs: Any) -> Files:
    corpus: Files = option("corpus/files", path=str(path), **knobs)
    corpus.load(words)
    return corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    (tmp_path / "a.txt").write_text("Plain text. It says hello.")
    (tmp_path / "notes" / "b.md").write_text("# Title\n\nMarked down.")
    (tmp_path / "c.rst").write_text("Title\n=====\n\nStructured.")
    (tmp_path / "d.html").write_text(
        "<html><style>x{}</style><script>bad()</script><p>Hyper</p><p>text</p></html>"
    )
    (tmp_path / "e.jsonl").write_text(
        json.dumps({"text": "First row.", "question": "Which row?"})
        + "\n\n"
        + json.dumps({"a": "x", "b": "y"})
    )
    (tmp_path / "f.csv").write_text('text,n\n"Comma, separated",1\nSecond,2\n')
    pyarrow.parquet.write_table(pyarrow.table({"text": ["Column."], "n": [1]}), tmp_path / "g.parquet")
    return tmp_path


def test_every_kind_is_read_with_its_source(folder: Path) -> None:
    corpus = loaded(folder)
    texts = {passage.source: passage.text for passage in corpus.passages}
    assert texts == {
        "a.txt": "Plain text. It says hello.",
        "c.rst": "Title\n=====\n\nStructured.",
        "d.html": "Hyper\ntext",
        "e.jsonl:1": "First row.",
        "e.jsonl:3": "a: x\nb: y",
        "f.csv:1": "Comma, separated",
        "f.csv:2": "Second",
        "g.parquet:1": "Column.",
        "notes/b.md": "# Title\n\nMarked down.",
    }
    assert [passage.id for passage in corpus.passages] == list(range(9))
    assert [(q.text, corpus.passages[q.passage_id].source) for q in corpus.questions] == [
        ("Which row?", "e.jsonl:1")
    ]
    assert corpus.describe()["files"] == 7


def test_what_cannot_be_used_is_named_and_skipped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty.txt").write_text(" \n")
    (folder / "latin.txt").write_bytes("größer".encode("latin-1"))
    (folder / "bad.jsonl").write_text('{"text": "fine"}\n{"text": ')
    (folder / "bad.parquet").write_bytes(b"PAR1 no, it is not PAR1")
    (folder / ".hidden.txt").write_text("not seen")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    corpus = loaded(folder)
    told = capsys.readouterr().err
    assert "skipped empty.txt: empty" in told
    assert "skipped latin.txt: not UTF-8 at byte 2" in told
    assert "skipped bad.jsonl: line 2 is no JSON" in told
    assert "skipped bad.parquet: no parquet" in told
    assert corpus.describe()["files_skipped"] == 4
    assert len(corpus.passages) == 9


def test_text_is_cut_by_tokens_with_overlap(tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text("  " + " ".join(f"w{i}" for i in range(10)) + "\n")
    corpus = loaded(file, chunk_tokens=4, overlap_tokens=1)
    assert [passage.text for passage in corpus.passages] == ["w0 w1 w2 w3", "w3 w4 w5 w6", "w6 w7 w8 w9"]
    assert [passage.position for passage in corpus.passages] == [2, 11, 20]
    whole = file.read_text()
    assert all(whole[p.position :].startswith(p.text) for p in corpus.passages)
    assert [q.text for q in corpus.questions] == [p.text for p in corpus.passages]
    assert corpus.describe()["questions_are"] == "first sentences of passages"


@pytest.mark.parametrize("count", range(1, 14))
def test_no_token_is_lost_and_no_passage_is_only_overlap(tmp_path: Path, count: int) -> None:
    (tmp_path / "t.txt").write_text(" ".join(str(i) for i in range(count)))
    passages = [p.text.split() for p in loaded(tmp_path, chunk_tokens=5, overlap_tokens=2).passages]
    joined = passages[0] + [word for words_ in passages[1:] for word in words_[2:]]
    assert joined == [str(i) for i in range(count)]
    assert all(len(words_) > 2 for words_ in passages[1:])


def test_the_same_files_give_the_same_digest_and_other_text_another(folder: Path) -> None:
    first = loaded(folder).digest
    assert loaded(folder).digest == first
    (folder / "a.txt").write_text("Changed.")
    assert loaded(folder).digest != first


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(UserError, match=r"corpus.path=.*: nothing readable \(x.txt: empty\)"):
        loaded(tmp_path)


def test_mistakes_are_named_before_anything_loads(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus.path is missing: corpus=files corpus.path=DIR"):
        option("corpus/files", path="")
    with pytest.raises(UserError, match=r"corpus.path=.*/nowhere does not exist"):
        option("corpus/files", path=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"corpus.path=.* holds no file that can be read \(.txt, .md"):
        option("corpus/files", path=str(tmp_path))
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(UserError, match=r"corpus.chunk_tokens=0 must be at least 1"):
        option("corpus/files", path=str(tmp_path), chunk_tokens=0)
    with pytest.raises(UserError, match=r"corpus.overlap_tokens=8 must be from 0 to below chunk_tokens=8"):
        option("corpus/files", path=str(tmp_path), chunk_tokens=8, overlap_tokens=8)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[" * 100_000, "line 1 is JSON beyond what can be read"),
        ("1" * 5_000, "line 1 is JSON beyond what can be read"),
        ('{"text": "\\ud800"}', "row 1 holds half of a surrogate pair"),
    ],
)
def test_rows_that_json_allows_and_nothing_can_hold_are_skipped(
    tmp_path: Path, line: str, reason: str
) -> None:
    (tmp_path / "odd.jsonl").write_text(line)
    with pytest.raises(UserError, match=f"nothing readable .odd.jsonl: {reason}"):
        loaded(tmp_path)
