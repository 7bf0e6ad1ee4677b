from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import synthetic

from mlsys.record import Record
from mlsys.report.charts import figures, panels
from mlsys.report.charts.drawing import Drawing
from mlsys.report.rows import rows


def figure(name: str, *records: Record) -> dict[str, Any] | None:
    drawing = Drawing.of(rows([(Path(f"/o/{i}"), made) for i, made in enumerate(records)]))
    return figures.figure(next(panel for panel in panels.PANELS if panel.name == name), drawing)


def drawn(name: str, *records: Record) -> list[dict[str, Any]]:
    found = figure(name, *records)
    return found["data"] if found else []


def test_a_spread_is_a_step_line_of_shares_at_the_highest_load_with_its_empty_bins() -> None:
    (trace,) = drawn("itl_spread", synthetic.streamed("batch"), synthetic.streamed("continuous"))
    assert trace["name"] == "continuous · at 20"
    assert trace["x"] == pytest.approx([10**0.9, 10, 10**1.1, 10**1.2, 10**1.3, 10**1.4])
    assert trace["y"] == [0, 0.5, 0.25, 0, 0.25, 0]
    assert trace["line"]["shape"] == "vh"
    assert set(trace["customdata"]) == {7}


def test_the_spreads_of_several_runs_lie_over_one_another_on_one_logarithmic_axis() -> None:
    found = figure("latency_spread", synthetic.streamed("batch"), synthetic.streamed("continuous"))
    assert found
    assert [trace["name"] for trace in found["data"]] == ["batch · at 20", "continuous · at 20"]
    assert found["layout"]["xaxis"]["type"] == "log"
    assert found["layout"]["yaxis"]["tickformat"] == ".0%"


def test_a_course_has_a_line_for_latency_and_one_for_the_first_token() -> None:
    whole, first = drawn("timeline", synthetic.streamed("continuous"))
    assert (whole["x"], first["x"]) == ([1, 2, 3], [1, 2, 3])
    assert first["y"] == pytest.approx([0.1 * value for value in whole["y"]])
    assert (whole["showlegend"], first["showlegend"]) == (True, False)
    assert whole["line"]["dash"] != first["line"]["dash"]


def test_records_without_courses_have_no_such_panel() -> None:
    assert figure("timeline", synthetic.serving("batch")) is None
    assert figure("latency_spread", synthetic.serving("batch")) is None


def test_first_tokens_and_times_per_token_stand_against_the_load_of_each_mode() -> None:
    records = [synthetic.streamed(mode) for mode in ("batch", "continuous")]
    assert [trace["name"] for trace in drawn("ttft", *records)] == [
        "batch",
        "batch",
        "continuous",
        "continuous",
    ]
    assert [trace["name"] for trace in drawn("tpot", *records)] == ["continuous", "continuous"]


def test_tokens_a_second_are_drawn_where_answers_differ_in_length() -> None:
    assert drawn("output_tokens", synthetic.serving("batch")) == []
    assert len(drawn("output_tokens", synthetic.streamed("batch"))) == 1


def test_a_course_is_drawn_and_is_no_figure(tmp_path: Path) -> None:
    from mlsys.report import table

    table.write(tmp_path, synthetic.save(tmp_path, [synthetic.streamed("continuous")]))
    assert "timeline" not in (tmp_path / "table.csv").read_text()
    assert "timeline" not in (tmp_path / "table.md").read_text()
