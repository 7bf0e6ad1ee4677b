from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from mlsys.errors import UserError
from mlsys.loadtest import tables

ROWS = [{"question": "Why?", "n": "1"}, {"question": "Wie,\nso?", "n": "2"}]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_every_form_has_the_same_rows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"f.{suffix}"
    if suffix == "parquet":
        parquet.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        text = {
            "jsonl": "\ufeff" + "\n".join(map(json.dumps, ROWS)),
            "json": json.dumps(ROWS),
            "csv": 'question,n\nWhy?,1\n"Wie,\nso?",2\n',
        }[suffix]
        path.write_text(text)
    assert [dict(row) for _, row in tables.rows("x", str(path))] == ROWS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,b\n1,2\n1\n", "line 3: not as many columns as the first line names"),
        ("a.csv", b"a,b\n1,2,3\n", "line 2: not as many columns as the first line names"),
        ("a.csv", b'a,b\n"1"x,2\n', "line 2: ',' expected after '\"'"),
        ("a.csv", b"a\n" + b"x" * 200, "line 2: longer than 100 characters"),
        ("a.jsonl", b'{"a": "' + b"x" * 200 + b'"}', "line 1: longer than 100 characters"),
        ("a.jsonl", b"[" * 90, "line 1: no JSON"),
        ("a.jsonl", b"\xff\n", "cannot be read"),
        ("a.json", b"{}", "is no JSON list"),
        ("a.parquet", b"PAR1nothing", "is no parquet file"),
    ],
)
def test_what_is_no_table_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, message: str
) -> None:
    monkeypatch.setattr(tables, "MOST_LINE", 100)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(tables.rows("loadtest.path", str(tmp_path / name)))
    assert str(caught.value).startswith(f"loadtest.path={tmp_path / name}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_json_list_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_JSON", 1)
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(UserError, match="write it as JSON lines"):
        list(tables.rows("x", str(tmp_path / "a.json")))
