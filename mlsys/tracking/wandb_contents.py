"""What a W&B run holds: all of it drawn from the record and its rows."""

from __future__ import annotations

from typing import Any

from mlsys.record import Record
from mlsys.report.charts import figures, panels
from mlsys.report.charts.drawing import Drawing
from mlsys.report.rows import COURSE, Row, is_number

OF_ONE_LEVEL = ("distribution", "timeline")
BINS = "_ms.hist."  # drawn as plots, and too many to be figures of a dashboard
STEPS = {"serving": "load", "distance": "n", "search": "queries"}


def conditions(record: Record) -> dict[str, Any]:
    """What stands beside the config: where and with what it was measured."""
    return {
        "workload": record.workload,
        "config_digest": record.config_digest,
        "command": " ".join(record.command),
        "environment": record.environment,
    }


def summary(table: list[Row]) -> dict[str, Any]:
    """Flat scalars: the results, and of a serving run the last (highest) load level's figures."""
    last = {key: value for key, value in table[-1].items() if not key.startswith("config.")}
    left_out = {"run", "record", "level", COURSE}
    return {
        key: value
        for key, value in last.items()
        if key not in left_out and value is not None and BINS not in key
    }


def history(run: Any, workload: str, table: list[Row], last: dict[str, Any]) -> None:
    """One point a load level (else one in all) over its step metric, so that dashboards can draw lines.

    `last` goes with the last point: a call of its own would repeat that point's step metric.
    """
    step = STEPS.get(workload, "level")
    run.define_metric(step)
    run.define_metric("*", step_metric=step)
    for i, row in enumerate(table):
        point: dict[str, Any] = {
            key: value
            for key, value in row.items()
            if is_number(value) and key != "record" and not key.startswith("config.") and BINS not in key
        }
        run.log(point | (last if i == len(table) - 1 else {}))


def media(wandb: Any, workload: str, table: list[Row]) -> dict[str, Any]:
    """The panels that say something of one run alone, and its rows as a table."""
    import plotly.graph_objects as go

    made: dict[str, Any] = {}
    drawing = Drawing.of(table)
    for panel in panels.of(workload):
        if (len(table) > 1 or panel.kind in OF_ONE_LEVEL) and (figure := figures.figure(panel, drawing)):
            made[f"plots/{panel.name}"] = wandb.Plotly(go.Figure(figure))
    names = [
        key for key in dict.fromkeys(key for row in table for key in row) if not key.startswith("config.")
    ]
    names = [name for name in names if name not in {"record", "run", COURSE} and BINS not in name]
    data = [[_cell(row.get(name)) for name in names] for row in table]
    return made | {"rows": wandb.Table(columns=names, data=data, allow_mixed_types=True)}


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
