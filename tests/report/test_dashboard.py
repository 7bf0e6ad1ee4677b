from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import synthetic

from mlsys.report import __main__


def test_runs_and_sweeps_gather_on_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic.save(tmp_path / "first", [synthetic.distance("l2"), synthetic.distance("l1")])
    synthetic.save(tmp_path / "second", [synthetic.serving("batch")])
    out = tmp_path / "pages" / "all.html"
    single = tmp_path / "first" / "0" / "record.json"
    assert (
        __main__.main([str(tmp_path / "first"), str(tmp_path / "second"), str(single), "--out", str(out)])
        == 0
    )
    text = out.read_text()
    assert "3 runs" in text
    assert 'href="../second/0/record.json"' in text
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == f"page: {out}"
    assert "throughput_rps" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere is not there"),
        (["."], "no record.json in ."),
        ([".", "--published", "x.csv"], "--published=x.csv: [Errno 2]"),
        ([".", "--interval", "0"], "--interval=0 must be more than 0"),
        (["wandb", "--entity", "e", "--send"], "--send needs records"),
    ],
)
def test_misuse_is_one_line(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert __main__.main(words) == 2
    assert capsys.readouterr().err.startswith(said)


def test_what_is_no_record_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic.save(tmp_path, [synthetic.distance()])
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "record.json").write_text('{"schema": 9}')
    assert len(__main__.gather([tmp_path])) == 1
    assert "passed over" in capsys.readouterr().err


def test_watching_draws_when_a_record_changes_and_ends_with_a_page_that_rests(tmp_path: Path) -> None:
    out = tmp_path / "index.html"
    pages: list[str] = []
    waits = iter(["first", "second", "same", "end"])

    def sleep(seconds: float) -> None:
        pages.append(out.read_text())
        name = next(waits)
        if name == "end":
            raise KeyboardInterrupt
        if name != "same":
            synthetic.save(tmp_path / name, [synthetic.distance()])

    __main__.watch([tmp_path], out, 3.0, sleep=sleep)
    counts = [next(word for word in ("2 runs", "1 run", "0 runs") if f">{word}" in page) for page in pages]
    assert counts == ["0 runs", "1 run", "2 runs", "2 runs"]
    assert all('http-equiv="refresh" content="3"' in page for page in pages)
    assert 'http-equiv="refresh"' not in out.read_text()


def test_published_figures_stand_beside_ours(tmp_path: Path) -> None:
    synthetic.save(tmp_path / "runs", [synthetic.serving("baseline"), synthetic.serving("batch")])
    csv = tmp_path / "expected.csv"
    csv.write_text(
        "server,replicas,concurrency,throughput_rps,e2e_ms.mean\nbaseline,1,1,1.82,550\nbatch,1,20,2.54,\n"
    )
    out = tmp_path / "index.html"
    assert __main__.main([str(tmp_path / "runs"), "--published", str(csv), "--out", str(out)]) == 0
    text = out.read_text()
    assert "rows named published are others&#x27; figures" in text
    assert text.count('title="published"') == 2
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    lines = {line["name"]: line["y"] for line in data["sections"]["serving"]["plots"]["throughput"]["data"]}
    assert lines["batch · published"] == [2.54]
    assert lines["batch"] == [0.58, 1.15, 1.3, 1.5]


def test_a_csv_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic.save(tmp_path, [synthetic.distance()])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert __main__.main([str(tmp_path), "--published", str(tmp_path / "other.csv")]) == 2
    assert "has no column server or metric" in capsys.readouterr().err


def test_a_directory_in_the_place_of_the_page_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic.save(tmp_path, [synthetic.distance()])
    assert __main__.main([str(tmp_path), "--out", str(tmp_path)]) == 2
    expected = f"--out={tmp_path} is a directory: name a file, such as {tmp_path}/index.html\n"
    assert capsys.readouterr().err == expected


def test_a_page_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic.save(tmp_path, [synthetic.distance()])
    assert __main__.main([str(tmp_path), "--out", "/dev/null/index.html"]) == 2
    assert capsys.readouterr().err == "/dev/null: File exists\n"
