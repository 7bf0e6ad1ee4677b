"""The W&B side of the panels: a workspace for each workload and one report, made again by running it.

Facts of the format: a bare name means history, `SummaryMetric` the run's last value; runs group by
`config.metric.name`; a run set's entity stays empty, so that a report can be copied to another account.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as reports
import wandb_workspaces.workspaces as workspaces
from wandb_workspaces import expr

from mlsys.record import Record
from mlsys.report.charts import panels
from mlsys.report.charts.panels import Panel
from mlsys.report.rows import Runs
from mlsys.tracking.reach import ask
from mlsys.tracking.wandb import run_id

WORKLOADS = ("distance", "search", "serving")
GROUPS = {
    "distance": ["config.metric.name", "summary.reduction"],
    "search": ["config.metric.name"],
    "serving": ["config.server.name"],
}
COLUMNS = {
    "distance": ["latency_ms", "bandwidth_gbps", "copy_share", "relative_error"],
    "search": ["latency_ms", "recall"],
    "serving": [
        "load",
        "throughput_rps",
        "e2e_ms.p50",
        "e2e_ms.p95",
        "ttft_ms.p50",
        "tpot_ms.p50",
        "success_rate",
    ],
}
ABOUT = {
    "distance": "How fast a vector distance runs, against its baselines and this machine's own copy.",
    "search": "How fast the nearest rows are found.",
    "serving": "How a RAG service behaves under load in its modes, against the bare engine.",
}
REPORT = "mlsys: comparison"
VIEWS = """query Views($entityName: String, $name: String, $viewType: String) {
  project(name: $name, entityName: $entityName) {
    allViews(viewType: $viewType) { edges { node { id name displayName } } }
  }
}"""


def metric(name: str, summary: bool) -> Any:
    """A row's key as W&B names it: a config key, a summary value, or history."""
    if name.startswith("config."):
        return reports.Config(name.removeprefix("config."))
    return reports.SummaryMetric(name) if summary else reports.Metric(name)


def draw(panel: Panel, layout: Any) -> Any:
    """The panel as W&B draws it."""
    names = panels.names(panel)
    if panel.kind == "parallel":
        columns = [reports.ParallelCoordinatesPlotColumn(metric=metric(name, True)) for name in names]
        return reports.ParallelCoordinatesPlot(title=panel.title, columns=columns, layout=layout)
    if panel.kind == "bars":
        summaries = [metric(name, True) for name in names]
        return reports.BarPlot(title=panel.title, metrics=summaries, title_x=panel.unit, layout=layout)
    if panel.kind == "histogram":
        names = ["batch_size.mean", "batch_size.max"]
    if panel.kind == "distribution":
        names = [panel.y[0].replace("hist.*", part) for part in ("p50", "p95", "p99")]
    return reports.LinePlot(
        title=panel.title,
        x=metric(panel.x, False),
        y=[metric(name, False) for name in (*names, *panel.limit)],
        log_x=panel.log_x,
        log_y=panel.log_y,
        title_x=panel.x,
        title_y=panel.unit,
        smoothing_type="none",
        plot_type="stacked-area" if panel.kind == "stack" else "line",
        groupby_aggfunc="median",
        groupby_rangefunc="minmax",
        point_visualization_method="sampling",
        layout=layout,
    )


def grid(workload: str) -> list[Any]:
    """All panels that runs can share, two a row, the run comparer and the plots of single runs below."""
    shared = [panel for panel in panels.of(workload) if panel.kind != "timeline"]
    drawn = [
        draw(panel, reports.Layout(x=12 * (i % 2), y=8 * (i // 2), w=12, h=8))
        for i, panel in enumerate(shared)
    ]
    below = 8 * (len(drawn) // 2 + 1)
    drawn.append(reports.RunComparer(diff_only="split", layout=reports.Layout(x=0, y=below, w=24, h=9)))
    if workload == "serving":
        media = [f"plots/{panel.name}" for panel in panels.of(workload)]
        place = reports.Layout(x=0, y=below + 9, w=24, h=9)
        drawn.append(reports.MediaBrowser(title="Each run's own plots", media_keys=media, layout=place))
    return drawn


def workspace(entity: str, project: str, workload: str, baseline: str | None) -> Any:
    """The workspace of one workload, its runs filtered and grouped, `baseline` (a run's id) pinned."""
    groups = [_expression(name) for name in GROUPS[workload]]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"mlsys: {workload}",
        sections=[workspaces.Section(name=workload.capitalize(), panels=grid(workload), is_open=True)],
        settings=workspaces.WorkspaceSettings(
            smoothing_type="none", max_runs=100, point_visualization_method="downsampling"
        ),
        runset_settings=workspaces.RunsetSettings(
            filters=[expr.Metric("JobType") == workload],
            groupby=groups,
            pinned_columns=[f"summary:{name}" for name in COLUMNS[workload]],
            baseline_run=baseline,
        ),
    )


def _expression(name: str) -> Any:
    section, _, rest = name.partition(".")
    return expr.Config(rest) if section == "config" else expr.Summary(rest)


def report(entity: str, project: str, workloads: Sequence[str]) -> Any:
    """One report with a panel grid for each workload."""
    blocks: list[Any] = [reports.TableOfContents()]
    for workload in workloads:
        runset = reports.Runset(
            project=project,
            name=workload,
            filters=[expr.Metric("JobType") == workload],
            groupby=GROUPS[workload],
            pinned_columns=[f"summary:{name}" for name in COLUMNS[workload]],
        )
        blocks += [reports.H1(workload.capitalize()), reports.P(ABOUT[workload])]
        blocks += [reports.P(f"{panel.title}: {panel.about}") for panel in panels.of(workload)]
        blocks.append(reports.PanelGrid(runsets=[runset], panels=grid(workload)))
    about = "Made by python -m mlsys.dashboard wandb; what is edited here is overwritten when it runs again."
    return reports.Report(
        entity=entity, project=project, title=REPORT, description=about, blocks=blocks, width="fluid"
    )


def baseline_of(runs: Runs, workload: str) -> str | None:
    """The id of the run that others are measured against: the newest with server=baseline."""
    chosen: list[Record] = [
        record
        for _, record in runs
        if record.workload == workload == "serving"
        and (record.config.get("server") or {}).get("name") == "baseline"
    ]
    return run_id(max(chosen, key=lambda record: record.started_at)) if chosen else None


def save(entity: str, project: str, runs: Runs, baseline: str | None, timeout_s: float) -> list[str]:
    """Make or update the workspaces and the report; returns their addresses. Raises UserError."""
    wanted = [name for name in WORKLOADS if any(record.workload == name for _, record in runs)] or list(
        WORKLOADS
    )
    addresses = []
    there = _views(entity, project, "project-view", timeout_s)
    for workload in wanted:
        made = workspace(entity, project, workload, baseline or baseline_of(runs, workload))
        if view := there.get(made.name):
            made._internal_id, made._internal_name = view["id"], view["name"]
        made.save()
        addresses.append(str(made.url))
    made = report(entity, project, wanted)
    if view := _views(entity, project, "runs", timeout_s).get(REPORT):
        made.id = view["id"]
    made.save()
    return [*addresses, str(made.url)]


def _views(entity: str, project: str, kind: str, timeout_s: float) -> dict[str, dict[str, Any]]:
    """What is there of this kind, by its displayed name."""
    answer = ask(VIEWS, {"entityName": entity, "name": project, "viewType": kind}, timeout_s)
    edges = ((answer.get("project") or {}).get("allViews") or {}).get("edges") or []
    return {edge["node"]["displayName"]: edge["node"] for edge in edges}
