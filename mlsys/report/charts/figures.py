"""A panel and rows become a plotly figure (plain dicts): the page draws it, W&B takes it as it is.

Every point carries the index of its row as `customdata`, so the page can filter;
every trace carries `meta.slot`, the place of its colour in the palette, so that the page can change it.
"""

from __future__ import annotations

from mlsys.report.charts import bars, traces
from mlsys.report.charts.axes import layout
from mlsys.report.charts.drawing import Drawing, Figure
from mlsys.report.charts.panels import Panel
from mlsys.report.rows import several


def figure(panel: Panel, drawing: Drawing) -> Figure | None:
    """`{"data": [...], "layout": {...}}` for plotly; None where no row has what the panel shows."""
    if panel.needs and all(row.get(panel.needs) is None for row in drawing.table):
        return None
    if panel.kind == "line" and not several([row for row in drawing.table if panel.y[0] in row], panel.x):
        return traces.dots(panel, drawing)
    data = traces.of(panel, drawing)
    if not data:
        return None
    made = layout(panel, drawing)
    if panel.kind == "bars":
        made["xaxis"] |= bars.value_axis(panel.unit, data)
    if panel.kind in {"bars", "stack"}:
        made["yaxis"] |= {"categoryorder": "array", "categoryarray": bars.order(panel, drawing)}
    return {"data": data, "layout": made}
