"""The axes of a panel, and what of its layout does not depend on the reader."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlsys.report.charts.drawing import GREY, Drawing, Figure
from mlsys.report.charts.panels import Panel
from mlsys.report.rows import COURSE, Row, finite, label

MOST_SPANS = 60


def layout(panel: Panel, drawing: Drawing) -> Figure:
    """Axes and what does not depend on the reader."""
    x: Figure = {"title": {"text": _x_title(panel, drawing)}, "automargin": True}
    y: Figure = {"title": {"text": panel.unit}, "automargin": True}
    x["type"], y["type"] = ("log" if log else "-" for log in (panel.log_x, panel.log_y))
    if panel.kind in {"bars", "stack"}:
        x = {"title": {"text": panel.unit}, "automargin": True}
        y = {"type": "category", "automargin": True, "autorange": "reversed"}
    if panel.kind == "histogram":
        x |= {"title": {"text": "requests in the batch"}, "tickformat": "d"}
    if panel.kind == "distribution":
        x |= {"title": {"text": "ms"}, "type": "log", "dtick": 1}
    if panel.kind == "timeline":
        x |= {"title": {"text": "s since the first measured request was due"}}
    if panel.kind in {"line", "distribution", "timeline"} and not panel.log_y:
        y["rangemode"] = "tozero"
    if panel.log_x and _decades(drawing.table, panel.x) > 1.5:
        x |= {"exponentformat": "power", "dtick": 1}
    if panel.log_y:
        y |= {"tickformat": "~g"} if panel.unit else {"exponentformat": "power"}
        y |= {"dtick": 1} if _decades(drawing.table, panel.y[0]) > 1.5 else {}
    if panel.unit == "share":
        y |= {"tickformat": ".0%", "title": {"text": ""}}
    made: Figure = {"xaxis": x, "yaxis": y, "barmode": "stack" if panel.kind == "stack" else "group"}
    if panel.reference is not None:
        where = {"x0": panel.reference, "x1": panel.reference, "yref": "paper", "y0": 0, "y1": 1}
        made["shapes"] = [{"type": "line", "line": {"color": GREY, "width": 1}} | where]
    if panel.kind == "timeline":
        made["shapes"] = _faults(drawing)
    return made


def _faults(drawing: Drawing) -> list[Figure]:
    """The spans in which something was broken, each shaded once; a moment is a line."""
    ends = [row.get(COURSE, {}).get("fault_s", []) for row in drawing.table]
    spans = dict.fromkeys(
        (round(begin, 1), round(end, 1))
        for each in ends
        for begin, end in zip(each[::2], each[1::2], strict=False)
    )
    whole = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "fillcolor": GREY, "opacity": 0.12}
    return [
        whole | {"x0": begin, "x1": end, "line": {"color": GREY, "width": int(begin == end)}}
        for begin, end in list(spans)[:MOST_SPANS]
    ]


def _decades(table: Sequence[Row], key: str) -> float:
    values = [row[key] for row in table if finite(row.get(key)) and row[key] > 0]
    return math.log10(max(values) / min(values)) if values else 0.0


def _x_title(panel: Panel, drawing: Drawing) -> str:
    if panel.x == "load":
        open_loop = [row.get("concurrency") is None for row in drawing.table]
        if all(open_loop):
            return "offered rate (req/s)"
        return "requests in flight (concurrency)" if not any(open_loop) else "concurrency, or offered req/s"
    return {"n": "n (elements)", "queries": "queries"}.get(panel.x, label(panel.x))
