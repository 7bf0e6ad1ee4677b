"""The traces of each kind of panel; here those that are lines, and the dispatch.

`meta.names` says which of a trace's texts is a run's name, so that the page can write it shorter where a filter leaves
fewer runs to tell apart: `name`, `name at` (followed by the place of x), or `y` of bars (followed by that as well).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from mlsys.report.charts import bars, courses
from mlsys.report.charts.axes import layout
from mlsys.report.charts.drawing import GREY, LIGHT, LIMIT_SLOT, Drawing, Figure, escape
from mlsys.report.charts.panels import Kind, Panel
from mlsys.report.names import short
from mlsys.report.rows import Row, finite, label

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot")
SMALLEST = 1e-17
ENGINE = ("config.generator.", "config.embedder.", "config.retriever.", "machine", "device", "config.dtype")


def of(panel: Panel, drawing: Drawing) -> list[Figure]:
    """The panel's traces; none where no row has what it shows."""
    makers: dict[Kind, Callable[[Panel, Drawing], list[Figure]]] = {
        "line": _lines,
        "bars": bars.bars,
        "stack": bars.stack,
        "histogram": bars.histogram,
        "parallel": bars.parallel,
        "distribution": courses.distribution,
        "timeline": courses.timeline,
    }
    return makers[panel.kind](panel, drawing)


def _lines(panel: Panel, drawing: Drawing) -> list[Figure]:
    traces: list[Figure] = []
    styles: dict[int, int] = {}
    for name, indices in _by_name(drawing).items():
        slot = drawing.slot(drawing.table[indices[0]], panel.color)
        style = styles.get(slot % len(LIGHT), 0)
        drawn: list[Figure] = []
        for order, y in enumerate(panel.y):
            dash = DASHES[(order if len(panel.y) > 1 else style) % len(DASHES)]
            for trace in _line(panel, drawing.table, indices, y):
                drawn.append(_style(name, slot, dash, style, show=not drawn) | trace)
        styles[slot % len(LIGHT)] = style + bool(drawn)
        traces += drawn
    return traces + _limits(panel, drawing) if traces else []


def _by_name(drawing: Drawing) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(drawing.table):
        groups.setdefault(drawing.name(row), []).append(index)
    return groups


def dots(panel: Panel, drawing: Drawing) -> Figure | None:
    """Where all points would stand at one x: a line for each name instead, its figures as dots, the limits upright.

    Several figures of a run (p50, p95, p99) differ in their symbol, which the legend names.
    """
    points: list[Figure] = []
    for name, indices in _by_name(drawing).items():
        slot = drawing.slot(drawing.table[indices[0]], panel.color)
        for order, y in enumerate(panel.y):
            symbol = SYMBOLS[(order if len(panel.y) > 1 else slot) % len(SYMBOLS)]
            for trace in _line(panel, drawing.table, indices, y):
                points.append(_across(_style(name, slot, "solid", 0, show=False) | trace, symbol))
    if not points:
        return None
    made = layout(replace(panel, kind="bars", reference=None, log_x=False, log_y=False), drawing)
    where = next(row[panel.x] for row in drawing.table if row.get(panel.x) is not None)
    made["xaxis"]["title"] = {"text": escape(f"{panel.unit} at {_place(panel, drawing, where)}".strip())}
    made["barmode"] = "stack"
    if panel.unit:
        made["xaxis"] |= {"rangemode": "tozero", "tickformat": ".0%" if panel.unit == "share" else ""}
    else:
        made["xaxis"] |= {"type": "log", "exponentformat": "power", "dtick": 1}
    limits = _limits(panel, drawing)
    made["shapes"] = [
        {"type": "line", "x0": trace["y"][0], "x1": trace["y"][0], "yref": "paper", "y0": 0, "y1": 1}
        | {"line": trace["line"]}
        for trace in limits
    ]
    return {
        "data": points + _symbols(panel, drawing) + [_only_named(trace) for trace in limits],
        "layout": made,
    }


def _across(trace: Figure, symbol: str) -> Figure:
    kept = {key: value for key, value in trace.items() if key not in {"error_y", "line"}}
    kept |= {"mode": "markers", "orientation": "h", "x": trace["y"], "y": [trace["name"]] * len(trace["y"])}
    kept["meta"] = trace["meta"] | {"names": "y"}
    kept["marker"] = trace["marker"] | {"size": 11, "symbol": symbol}
    kept["showlegend"] = False
    return kept | ({"error_x": trace["error_y"]} if "error_y" in trace else {})


def _place(panel: Panel, drawing: Drawing, where: float) -> str:
    if panel.x != "load":
        return f"{panel.x} = {short(where)}"
    closed = any(row.get("concurrency") is not None for row in drawing.table)
    return f"{short(where)} in flight" if closed else f"{short(where)} req/s offered"


def _symbols(panel: Panel, drawing: Drawing) -> list[Figure]:
    """What each symbol stands for, where a run has several figures: entries of the legend without points."""
    if len(panel.y) == 1:
        return []
    return [
        {"type": "scatter", "mode": "markers", "orientation": "h", "x": [None], "y": [None]}
        | {
            "name": escape(y.rpartition(".")[2].replace("_", " ")),
            "showlegend": True,
            "meta": {"slot": LIMIT_SLOT},
        }
        | {"marker": {"color": GREY, "size": 11, "symbol": SYMBOLS[order % len(SYMBOLS)]}}
        for order, y in enumerate(panel.y)
        if any(finite(row.get(y)) for row in drawing.table)
    ]


def _only_named(limit: Figure) -> Figure:
    """The legend's entry of a limit that stands upright."""
    return limit | {"x": [None], "y": [None], "orientation": "h", "showlegend": True}


def _line(panel: Panel, table: Sequence[Row], indices: Sequence[int], y: str) -> list[Figure]:
    """A line through the points; repeated runs of one configuration are points, and the line is their median."""
    points: dict[float, list[tuple[float, int]]] = {}
    for i in indices:
        across, up = table[i].get(panel.x), table[i].get(y)
        if finite(across) and finite(up):
            points.setdefault(across, []).append((max(up, SMALLEST) if panel.log_y else up, i))
    if not points:
        return []
    across_all = sorted(points)
    line: Figure = {"mode": "lines+markers", "x": across_all}
    line["y"] = [statistics.median(up for up, _ in points[across]) for across in across_all]
    line["customdata"] = [points[across][0][1] for across in across_all]
    if all(len(found) == 1 for found in points.values()):
        spread = _spread([table[i] for i in line["customdata"]], y)
        return [line | ({"error_y": spread} if spread else {})]
    each = [(across, up, i) for across in across_all for up, i in points[across]]
    dots: Figure = {"mode": "markers", "x": [p[0] for p in each], "y": [p[1] for p in each], "opacity": 0.45}
    return [line, dots | {"customdata": [p[2] for p in each], "showlegend": False}]


def _spread(rows: Sequence[Row], y: str) -> Figure | None:
    """From the first to the third quartile, where every row has them."""
    up, down = [], []
    for row in rows:
        low, high = row.get(f"{y}_p25"), row.get(f"{y}_p75")
        if not (finite(low) and finite(high)):
            return None
        up.append(max(high - row[y], 0))
        down.append(max(row[y] - low, 0))
    return {"type": "data", "array": up, "arrayminus": down, "thickness": 1, "width": 2}


def _style(name: str, slot: int, dash: str, style: int, show: bool) -> Figure:
    color = LIGHT[slot % len(LIGHT)]
    return {
        "type": "scatter",
        "name": escape(name),
        "legendgroup": escape(name),
        "showlegend": show,
        "meta": {"slot": slot, "names": "name"},
        "line": {"color": color, "dash": dash, "width": 2},
        "marker": {"color": color, "symbol": SYMBOLS[(slot + style) % len(SYMBOLS)], "size": 7},
    }


def _limits(panel: Panel, drawing: Drawing) -> list[Figure]:
    """A dashed line a machine at its median; of an engine, one a setting, at the best of each load."""
    traces: list[Figure] = []
    for limit in panel.limit:
        groups: dict[str, dict[float, list[float]]] = {}
        for row in drawing.table:
            across, up = row.get(panel.x), row.get(limit)
            if finite(across) and finite(up):
                groups.setdefault(_limit_name(panel, drawing, row), {}).setdefault(across, []).append(up)
        for order, (name, points) in enumerate(groups.items()):
            if panel.workload == "serving":
                heights = {across: max(values) for across, values in sorted(points.items())}
            else:
                middle = statistics.median(value for values in points.values() for value in values)
                heights = dict.fromkeys(sorted(points), middle)
            traces.append(_limit(label(limit), name, heights, DASHES[1 + order % (len(DASHES) - 1)]))
    return traces


def _limit_name(panel: Panel, drawing: Drawing, row: Row) -> str:
    """What the limit depends on: neither metric nor reduction nor server mode."""
    kept = ENGINE if panel.workload == "serving" else ("machine", "device", "config.device")
    names = drawing.names
    return " · ".join(
        names.word(key, row[key]) for key in names.keys if key.startswith(kept) and row.get(key) is not None
    )


def _limit(what: str, name: str, heights: dict[float, float], dash: str) -> Figure:
    words = what.removesuffix("_gbps").removesuffix("_rps").replace("_", " ")
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(heights),
        "y": list(heights.values()),
        "name": escape(f"{words} {name}".strip()),
        "meta": {"slot": LIMIT_SLOT},
        "line": {"color": GREY, "dash": dash, "width": 2},
    }
