from __future__ import annotations

from pathlib import Path

import pytest
import synthetic

from mlsys.report import table
from mlsys.report.terminal import Column, draw, fitting


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_numbers_are_never_cut_and_what_does_not_fit_is_named(tmp_path: Path, width: int) -> None:
    runs = synthetic.save(tmp_path, [synthetic.distance("cosine", n) for n in (10**4, 10**6, 10**8)])
    shown = table.console(runs, width)
    assert all(len(line) <= width for line in shown.splitlines() if not line.startswith("no room for"))
    assert "…" not in shown
    assert "1,000,000" in shown
    assert table.text(runs[0][1].results["latency_ms"]) in shown.split()
    assert ("no room for" in shown) == (width < 200)
    if width < 200:
        assert "latency_ms_p75" in shown.rpartition("no room for")[2]


def test_many_settings_become_one_name_so_that_figures_have_room(tmp_path: Path) -> None:
    records = [
        synthetic.serving(
            "batch", config={"batching": {"name": "hybrid", "max_size": size, "timeout_ms": wait}}
        )
        for size in (4, 8)
        for wait in (10.0, 20.0)
    ]
    records += [
        synthetic.serving("lb", config={"balancer": {"name": "power_of_two"}, "seed": i}) for i in (0, 1)
    ]
    shown = table.console(synthetic.save(tmp_path, records), 60)
    assert {"16,000", "1.5", "run"} <= set(shown.split())
    assert all(len(line) <= 60 for line in shown.splitlines() if "no room for" not in line)


def test_a_piped_table_has_everything_on_one_line_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = table.console(synthetic.save(tmp_path, [synthetic.distance()]))
    assert "no room for" not in shown
    assert len(shown.splitlines()) == 3


def test_columns_says_the_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert "no room for" in table.console(synthetic.save(tmp_path, [synthetic.distance()]))


def test_a_long_text_is_folded_before_a_number_is_left_out() -> None:
    columns = [Column("run", ["x" * 60], kept=True), Column("ms", ["1,234.5"], numeric=True)]
    shown = draw("", columns, 40, [False])
    assert "1,234.5" in shown
    assert shown.count("x") == 60


def test_columns_go_from_the_last_but_those_that_name_the_row_stay() -> None:
    columns = [Column("a", ["1" * 30], numeric=True), Column("b", ["2" * 30], numeric=True)]
    columns.append(Column("c", ["name"], kept=True))
    assert [column.heading for column in fitting(columns, 40)] == ["a", "c"]


def test_a_column_that_says_the_same_good_thing_of_all_is_left_out(tmp_path: Path) -> None:
    fine = table.console(synthetic.save(tmp_path / "a", [synthetic.serving("batch")]))
    assert not {"status", "valid", "rejected"} & set(fine.split())
    bad = synthetic.serving("batch")
    bad.levels[0] |= {"valid": False, "rejected": 3}
    assert {"valid", "rejected"} <= set(table.console(synthetic.save(tmp_path / "b", [bad])).split())
