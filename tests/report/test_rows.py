from __future__ import annotations

from pathlib import Path

import pytest
import synthetic

from mlsys.report import published, rows


def test_a_serving_run_is_a_row_for_each_level_with_its_load_and_ceiling(tmp_path: Path) -> None:
    table = rows.rows([(tmp_path, synthetic.serving("batch"))])
    assert [row["load"] for row in table] == [1, 5, 10, 20]
    assert [row["level"] for row in table] == [0, 1, 2, 3]
    assert [row["engine_batch"] for row in table] == [1, 5, 10, 16]
    assert table[3]["engine_ceiling_rps"] == pytest.approx(0.6 + 0.06 * 16)
    assert table[0]["config.batching.max_size"] == 16


def test_a_distance_run_is_one_row_with_its_machine(tmp_path: Path) -> None:
    (row,) = rows.rows([(tmp_path, synthetic.distance(n=10**6))])
    assert row["n"] == 10**6
    assert row["machine"] == "Xeon Test"
    assert row["copy_share"] == pytest.approx(row["bandwidth_gbps"] / 24)


def test_nan_and_infinity_come_back_as_numbers(tmp_path: Path) -> None:
    made = synthetic.distance()
    made.results["relative_error"] = "inf"
    (row,) = rows.rows([(tmp_path, made)])
    assert row["relative_error"] == float("inf")


def test_only_what_explains_a_difference_varies(tmp_path: Path) -> None:
    runs = [(tmp_path / mode, synthetic.serving(mode)) for mode in ("baseline", "batch")]
    runs[1][1].config["server"]["linger_ms"] = 4
    assert rows.varying(rows.rows(runs)) == ["config.server.name"]


def test_a_knob_that_differs_under_one_name_varies(tmp_path: Path) -> None:
    changed = {"batching": {"name": "hybrid", "max_size": 8, "timeout_ms": 20.0}}
    runs = [
        (tmp_path / "a", synthetic.serving("batch")),
        (tmp_path / "b", synthetic.serving("batch", config=changed)),
    ]
    assert rows.varying(rows.rows(runs)) == ["config.batching.max_size"]


def test_a_failed_run_without_a_config_makes_nothing_vary(tmp_path: Path) -> None:
    runs = [(tmp_path / "a", synthetic.distance()), (tmp_path / "b", synthetic.failed())]
    assert rows.varying(rows.rows(runs)) == ["config.n"]


def test_names_are_the_shortest_path_endings_that_differ() -> None:
    assert rows.run_names([Path("/o/day/a/0"), Path("/o/day/b/0")]) == ["a/0", "b/0"]
    assert rows.run_names([Path("/o/day/a")]) == ["a"]


@pytest.mark.parametrize(
    ("key", "heading"), [("config.metric.name", "metric"), ("config.n", "n"), ("wall_ms", "wall_ms")]
)
def test_label(key: str, heading: str) -> None:
    assert rows.label(key) == heading


def test_settings_of_another_workload_do_not_vary(tmp_path: Path) -> None:
    changed = {"search": {"k": 5}, "generator": {"name": "x"}}
    runs = [(tmp_path / "a", synthetic.distance()), (tmp_path / "b", synthetic.distance(config=changed))]
    assert rows.varying(rows.rows(runs)) == []


def test_published_rows_have_the_names_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "expected.csv"
    path.write_text("metric,n,latency_ms,note\nl2,1000,0.5,slow\n")
    (row,) = published.read(path)
    assert (row["workload"], row["config.metric.name"], row["n"], row["latency_ms"]) == (
        "distance",
        "l2",
        1000,
        0.5,
    )
    assert (row["source"], row["record"], row["note"]) == ("published", None, "slow")


def test_a_files_length_is_shown_not_the_size_that_was_not_used() -> None:
    entry = synthetic.distance(n=1000, config={"data": {"name": "file", "x": "a.npy", "y": "b.npy"}})
    entry.results["n"] = 60_000_000
    assert rows.settings(entry)["n"] == 60_000_000


@pytest.mark.parametrize(
    ("elements", "results", "shown"), [(1e4, {"rows": 625}, 625), (1e4, {}, None), (None, {"rows": 7}, 7)]
)
def test_as_many_rows_are_shown_as_the_elements_of_pairs_are(
    elements: float | None, results: dict[str, int], shown: int | None
) -> None:
    entry = synthetic.start("pairs", {"pairs": {"rows": 7, "dim": 16, "elements": elements}}, [])
    entry.results.update(results)
    assert rows.settings(entry)["pairs.rows"] == shown


def test_a_run_over_ranks_differs_from_one_without(tmp_path: Path) -> None:
    runs = [(tmp_path / "1", synthetic.distance()), (tmp_path / "2", synthetic.distance(config={"ranks": 2}))]
    table = rows.rows(runs)
    assert rows.varying(table) == ["config.ranks"]
    assert [row["config.ranks"] for row in table] == [1, 2]
