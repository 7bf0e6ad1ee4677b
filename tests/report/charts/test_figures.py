from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import synthetic

from mlsys.report.charts import figures, panels
from mlsys.report.charts.drawing import Drawing
from mlsys.report.rows import rows
from mlsys.stages import STAGES


def drawn(name: str, records: list[Any]) -> list[dict[str, Any]]:
    drawing = Drawing.of(rows([(Path(f"/o/{i}"), made) for i, made in enumerate(records)]))
    panel = next(panel for panel in panels.PANELS if panel.name == name)
    found = figures.figure(panel, drawing)
    return found["data"] if found else []


def test_bandwidth_is_a_line_a_metric_in_order_of_size_with_the_copy_as_limit() -> None:
    records = [synthetic.distance(metric, n) for metric in ("l2", "dot") for n in (10**8, 10**4)]
    l2, dot, copy = drawn("bandwidth", records)
    assert (l2["name"], dot["name"], copy["name"]) == ("l2", "dot", "copy bandwidth")
    assert l2["x"] == [10**4, 10**8]
    assert l2["y"] == [records[1].results["bandwidth_gbps"], records[0].results["bandwidth_gbps"]]
    assert l2["customdata"] == [1, 0]
    assert set(copy["y"]) == {24.0}


def test_reductions_share_their_metrics_colour_and_differ_in_dash() -> None:
    kinds = [(metric, reduction) for metric in ("l2", "dot") for reduction in ("atomic", "single_pass")]
    records = [synthetic.distance(m, n, reduction=r) for n in (10, 20) for m, r in kinds]
    one, two, three, *_ = drawn("bandwidth", records)
    assert [one["name"], two["name"]] == ["l2 · atomic", "l2 · single_pass"]
    assert one["meta"] == two["meta"] != three["meta"]
    assert one["line"]["dash"] != two["line"]["dash"]


def test_an_exact_answer_is_drawn_on_the_log_axis() -> None:
    record = synthetic.distance()
    record.results["relative_error"] = 0.0
    (trace,) = drawn("error", [record, synthetic.distance(n=10)])
    assert trace["y"][1] == 1e-17


def test_latency_shows_its_quartiles() -> None:
    (trace,) = drawn("latency", [synthetic.distance(n=n, latency_ms=10.0) for n in (10, 20)])
    assert trace["error_y"]["array"] == pytest.approx([0.2, 0.2])
    assert trace["error_y"]["arrayminus"] == pytest.approx([0.1, 0.1])


def test_at_one_size_each_name_is_a_line_with_its_figure_as_a_dot() -> None:
    drawing = Drawing.of(
        rows([(Path(f"/o/{m}"), synthetic.distance(m, latency_ms=10.0)) for m in ("l2", "dot")])
    )
    found = figures.figure(panels.PANELS[0], drawing)
    assert found
    l2, dot, copy = found["data"]
    assert (copy["name"], copy["x"]) == ("copy bandwidth", [None])
    assert (l2["y"], dot["y"], l2["mode"]) == (["l2"], ["dot"], "markers")
    assert l2["x"] == [pytest.approx(0.8)]
    assert found["layout"]["shapes"][0]["x0"] == 24.0
    assert found["layout"]["xaxis"]["title"]["text"] == "GB/s at n = 1e6"
    latency, _ = drawn("latency", [synthetic.distance(m, latency_ms=10.0) for m in ("l2", "dot")])
    assert latency["error_x"]["array"] == pytest.approx([0.2])


def test_speedups_are_bars_a_baseline_in_the_colour_of_their_run() -> None:
    records = [synthetic.distance(metric, n) for n in (10**8, 10**4) for metric in ("l2", "dot")]
    l2, dot = drawn("speedup", records)
    assert [l2["name"], dot["name"]] == ["l2", "dot"]
    assert l2["y"] == ["numpy · n=1e4", "numpy · n=1e8", "torch · n=1e4", "torch · n=1e8"]
    assert l2["x"][:2] == [records[2].results["speedup.numpy"], records[0].results["speedup.numpy"]]
    line, *_ = drawn("bandwidth", records)
    assert (line["meta"]["slot"], line["marker"]["color"]) == (l2["meta"]["slot"], l2["marker"]["color"])


@pytest.mark.parametrize(("least", "axis"), [(3.0, "-"), (2.99, "log"), (0.05, "log"), (0.0, "-")])
def test_bars_that_differ_over_a_hundredfold_have_a_logarithmic_axis_that_says_so(
    least: float, axis: str
) -> None:
    record = synthetic.distance()
    record.results |= {"speedup.numpy": 300.0, "speedup.torch": least}
    drawing = Drawing.of(rows([(Path("/o/0"), record)]))
    panel = next(panel for panel in panels.PANELS if panel.name == "speedup")
    found = figures.figure(panel, drawing)
    assert found
    across = found["layout"]["xaxis"]
    assert across.get("type", "-") == axis
    assert ("logarithmic" in across["title"]["text"]) == (axis == "log")
    if axis == "log":
        low, high = across["range"]
        assert 10**low < least / 1.5
        assert 10**high > 300


def test_the_engines_ceiling_follows_the_load() -> None:
    *lines, ceiling = drawn("throughput", [synthetic.serving("baseline"), synthetic.serving("batch")])
    assert [line["name"] for line in lines] == ["baseline", "batch"]
    assert ceiling["x"] == [1, 5, 10, 20]
    assert ceiling["y"] == pytest.approx([0.66, 0.9, 1.2, 1.56])


def test_percentiles_are_one_colour_and_three_dashes() -> None:
    traces = drawn("percentiles", [synthetic.serving("batch")])
    assert [trace["line"]["dash"] for trace in traces] == ["solid", "dash", "dot"]
    assert [trace["showlegend"] for trace in traces] == [True, False, False]


def test_stages_stand_in_the_order_of_a_requests_life() -> None:
    names = [trace["name"] for trace in drawn("stages", [synthetic.serving("batch")])]
    assert names == ["queue", "embed", "retrieve", "prompt", "generate", "respond"]


def test_bars_stand_in_the_tables_order_whatever_their_first_part() -> None:
    records = [synthetic.serving("batch"), synthetic.serving("baseline")]
    records[0].levels[0] |= {"closed_by.idle": 3}
    records[1].levels[0] |= {"closed_by.full": 4}
    drawing = Drawing.of(rows([(Path(f"/o/{i}"), made) for i, made in enumerate(records)]))
    panel = next(panel for panel in panels.PANELS if panel.name == "closed_by")
    found = figures.figure(panel, drawing)
    assert found
    order = found["layout"]["yaxis"]["categoryarray"]
    assert order.index("batch · at 1") < order.index("baseline · at 1")


def test_stages_and_what_is_outside_add_up_to_the_mean_latency() -> None:
    made = synthetic.serving("batch")
    for level in made.levels:
        level["outside_ms.mean"] = 50.0
        level["e2e_ms.mean"] = float(level["e2e_ms.mean"] or 0) + 50.0
    traces = drawn("stages", [made])
    assert traces[-1]["name"] == "outside"
    sums = [sum(lengths) for lengths in zip(*(trace["x"] for trace in traces), strict=True)]
    assert sums == pytest.approx([level["e2e_ms.mean"] for level in made.levels])


def test_no_part_of_a_request_has_the_colour_of_a_run() -> None:
    from mlsys.report.charts import drawing

    for runs, parts in (
        (drawing.LIGHT, drawing.PARTS_LIGHT),
        (drawing.DARK, drawing.PARTS_DARK),
    ):
        assert set(parts) == {*STAGES, "outside", "full", "deadline", "idle", "budget"}
        assert len({*runs, *parts.values()}) == len(runs) + len(parts)


def test_the_ninth_run_does_not_look_like_the_first() -> None:
    records = [synthetic.serving(config={"seed": 0, "batching": {"max_size": size}}) for size in range(1, 10)]
    lines = [trace for trace in drawn("throughput", records) if trace["meta"]["slot"] >= 0]
    looks = {(line["line"]["color"], line["line"]["dash"], line["marker"]["symbol"]) for line in lines}
    assert len(looks) == 9


def test_at_one_load_the_percentiles_differ_in_symbol_and_the_run_is_named() -> None:
    *points, first, second, third = drawn("percentiles", [synthetic.serving("batch", loads=(20,))])
    assert [trace["name"] for trace in (first, second, third)] == ["p50", "p95", "p99"]
    assert [point["y"] for point in points] == [["batch"]] * 3
    symbols = [trace["marker"]["symbol"] for trace in points]
    assert symbols == [trace["marker"]["symbol"] for trace in (first, second, third)]
    assert len(set(symbols)) == 3


def test_a_nan_distance_is_not_drawn_as_exact() -> None:
    record = synthetic.distance()
    record.results |= {"value": "nan", "reference": "nan", "relative_error": 0.0}
    assert drawn("error", [record]) == []


def test_repeated_runs_are_points_around_their_median() -> None:
    cases = [(1.0, 20), (2.0, 21), (4.0, 22)]
    records = [synthetic.distance(latency_ms=latency, config={"repeats": n}) for latency, n in cases]
    line, points = drawn("latency", [*records, synthetic.distance(n=2 * 10**6, latency_ms=5.0)])
    assert (line["y"], line["mode"]) == ([2.0, 5.0], "lines+markers")
    assert (points["y"], points["mode"]) == ([1.0, 2.0, 4.0, 5.0], "markers")
    assert points["customdata"] == [0, 1, 2, 3]
    bars = drawn("speedup", records)
    assert [len(bar["x"]) for bar in bars] == [2]


def test_without_a_differing_mode_settings_have_the_colours() -> None:
    sizes = [{"name": "hybrid", "max_size": size, "timeout_ms": 20.0} for size in (4, 8)]
    traces = drawn("throughput", [synthetic.serving("batch", config={"batching": one}) for one in sizes])
    assert [trace["name"] for trace in traces] == ["max_size=4", "max_size=8", "engine ceiling"]
    assert traces[0]["meta"] != traces[1]["meta"]


def test_batch_sizes_show_the_highest_load_of_runs_that_batch() -> None:
    record = synthetic.serving("batch")
    (trace,) = drawn("batch_sizes", [synthetic.serving("queue"), record])
    assert trace["name"] == "batch · at 20"
    assert trace["x"] == list(range(1, 17))
    assert trace["y"] == [record.levels[3][f"batch_size.hist.{size}"] for size in range(1, 17)]


def test_settings_are_drawn_where_some_differ() -> None:
    assert drawn("policy", [synthetic.serving("batch")]) == []
    other = {"name": "hybrid", "max_size": 8, "timeout_ms": 20.0}
    (trace,) = drawn(
        "policy", [synthetic.serving("batch"), synthetic.serving("batch", config={"batching": other})]
    )
    assert [dimension["label"] for dimension in trace["dimensions"]] == [
        "batching.max_size",
        "load",
        "e2e_ms.p95",
        "throughput_rps",
    ]


def test_names_from_records_are_escaped() -> None:
    (trace, *_) = drawn("bandwidth", [synthetic.distance("<b>x</b>"), synthetic.distance("l2")])
    assert trace["name"] == "&lt;b&gt;x&lt;/b&gt;"


def test_nothing_to_show_is_no_figure() -> None:
    assert drawn("bandwidth", [synthetic.failed()]) == []
