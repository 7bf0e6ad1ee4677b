from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import synthetic
import wandb_double

from mlsys.report.charts import panels
from mlsys.tracking.wandb import run_id

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def dashboard(store: wandb_double.Store, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    variables = {
        "WANDB_BASE_URL": store.address,
        "WANDB_API_KEY": store.key,
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
    }
    line = [sys.executable, "-m", "mlsys.dashboard", "wandb", "--entity", wandb_double.ENTITY, *words]
    return subprocess.run(line, cwd=home, env=kept | variables, capture_output=True, text=True, check=False)


def panels_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return spec["section"]["panelBankConfig"]["sections"][0]["panels"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[wandb_double.Store, list[str]]:
    """The views after the command has run twice, records given; and what it printed."""
    home = tmp_path_factory.mktemp("home")
    synthetic.mixture(home / "runs")
    with wandb_double.serve() as store:
        for _ in range(2):
            done = dashboard(store, home, "--project", "mlsys", str(home / "runs"))
            assert done.returncode == 0, done.stderr
    assert store.unknown == []
    return store, done.stdout.splitlines()


def test_a_workspace_a_workload_and_one_report_made_once(saved: tuple[wandb_double.Store, list[str]]) -> None:
    store, printed = saved
    names = [view["displayName"] for view in store.views]
    assert names == ["mlsys: distance", "mlsys: search", "mlsys: serving", "mlsys: comparison"]
    assert len(printed) == 4
    assert all(line.startswith(store.address) for line in printed)


def test_every_panel_of_the_list_is_in_the_workspace(saved: tuple[wandb_double.Store, list[str]]) -> None:
    for view in saved[0].views[:3]:
        workload = view["displayName"].removeprefix("mlsys: ")
        drawn = panels_of(json.loads(view["spec"]))
        titles = [panel["config"].get("chartTitle") for panel in drawn]
        shared = [panel.title for panel in panels.of(workload) if panel.kind != "timeline"]
        assert shared == titles[: len(shared)]
        assert "Run Comparer" in {panel["viewType"] for panel in drawn}


def test_what_the_serving_workspace_shows(saved: tuple[wandb_double.Store, list[str]]) -> None:
    spec = json.loads(saved[0].views[2]["spec"])
    drawn = {panel["config"].get("chartTitle"): panel for panel in panels_of(spec)}
    throughput = drawn["Throughput against load"]["config"]
    assert throughput["xAxis"] == "load"
    assert throughput["metrics"] == ["throughput_rps", "engine_ceiling_rps"]
    stages = drawn["Where the time goes"]["config"]
    assert stages["plotType"] == "stacked-area"
    assert stages["metrics"][0] == "stage_ms.queue.mean"
    settings = drawn["Settings and what they bring"]["config"]["columns"]
    assert [column["accessor"] for column in settings][:2] == [
        "config:batching.value.max_size",
        "config:batching.value.timeout_ms",
    ]
    (runs,) = spec["section"]["runSets"]
    assert runs["grouping"] == [{"section": "config", "name": "server.value.name"}]
    assert runs["filters"]["filters"][0]["key"] == {"section": "run", "name": "jobType"}
    assert runs["filters"]["filters"][0]["value"] == "serving"
    assert b64decode(runs["baselineRunId"]).decode().split(":")[2] == run_id(synthetic.serving("baseline"))


def test_the_distance_workspace_groups_by_what_ran(
    saved: tuple[wandb_double.Store, list[str]],
) -> None:
    spec = json.loads(saved[0].views[0]["spec"])
    (runs,) = spec["section"]["runSets"]
    assert [group["name"] for group in runs["grouping"]] == ["metric.value.name", "reduction"]
    bars = next(panel for panel in panels_of(spec) if panel["viewType"] == "Bar Chart")
    assert "summary_metrics.speedup.torch_dot" in bars["config"]["metrics"]


def test_the_report_has_a_grid_a_workload_whose_runs_belong_to_no_account(
    saved: tuple[wandb_double.Store, list[str]],
) -> None:
    spec = json.loads(saved[0].views[3]["spec"])
    grids = [block for block in spec["blocks"] if block["type"] == "panel-grid"]
    assert [grid["metadata"]["runSets"][0]["name"] for grid in grids] == ["distance", "search", "serving"]
    for grid in grids:
        assert "entityName" not in grid["metadata"]["runSets"][0].get("project", {})
    count = len(grids[0]["metadata"]["panelBankSectionConfig"]["panels"])
    assert count == len(panels.of("distance")) + 1


def test_send_draws_records_as_runs(tmp_path: Path) -> None:
    synthetic.save(tmp_path / "sweep", [synthetic.distance()])
    with wandb_double.serve() as store:
        done = dashboard(store, tmp_path, "--send", "sweep")
    assert done.returncode == 0, done.stderr
    assert set(store.runs) == {run_id(synthetic.distance())}
    assert [run["groupName"] for run in store.runs.values()] == ["sweep"]


def test_without_a_server_it_is_one_line(tmp_path: Path) -> None:
    done = dashboard(wandb_double.Store(address="http://127.0.0.1:9"), tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("tracking=online: no W&B server at http://127.0.0.1:9")
    assert done.stderr.count("\n") == 1
