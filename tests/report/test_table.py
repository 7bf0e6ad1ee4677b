from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import synthetic

from mlsys.report import table


@pytest.mark.parametrize(
    ("value", "column", "shown"),
    [
        (None, "", ""),
        (True, "", "yes"),
        (0.875, "copy_share", "87.5 %"),
        (16666.7, "", "16,667"),
        (10**6, "n", "1,000,000"),
        (10**8, "n", "1e8"),
        (3.14159, "", "3.142"),
        (4.83e-10, "", "4.83e-10"),
        (0.0, "", "0"),
        (20.0, "", "20"),
        (float("inf"), "", "inf"),
        ("a|b", "", "a|b"),
    ],
)
def test_text(value: object, column: str, shown: str) -> None:
    assert table.text(value, column) == shown


def test_csv_holds_every_figure_in_full(tmp_path: Path) -> None:
    runs = synthetic.mixture(tmp_path)
    _, csv = table.write(tmp_path, runs)
    read = pd.read_csv(csv)
    first = runs[0][1].results
    assert read.loc[0, "latency_ms"] == first["latency_ms"]
    assert len(read) == 12 + 5 * 4 + 6 + 3


def test_markdown_has_a_table_a_workload_and_no_broken_row(tmp_path: Path) -> None:
    path, _ = table.write(tmp_path, synthetic.mixture(tmp_path))
    text = path.read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## distance",
        "## search",
        "## serving",
    ]
    for part in text.split("## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "<script" not in text


def test_console_is_plain_when_piped_and_a_run_is_one_line(tmp_path: Path) -> None:
    runs = synthetic.save(
        tmp_path,
        [synthetic.distance("l2"), synthetic.distance("l1"), synthetic.failed("ValueError: " + "x" * 300)],
    )
    lines = table.console(runs).splitlines()
    assert len(lines) == 5
    assert "\x1b" not in "".join(lines)
    assert lines[1].split()[:2] == ["metric", "n"]


def test_failed_runs_show_their_error(tmp_path: Path) -> None:
    runs = synthetic.save(tmp_path, [synthetic.distance(), synthetic.failed()])
    assert "size=1.5 is not a whole number" in table.console(runs)


def test_no_runs() -> None:
    assert table.console([]) == ""
