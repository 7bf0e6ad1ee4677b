"""A panel and rows become a plotly figure (plain dicts): the page draws it, W&B takes it as it is.

Every point carries the index of its row as `customdata`, so that the page can filter what is drawn; every trace
carries `meta.slot`, the place of its colour in the palette, so that the page can draw it for light and dark.
"""

from __future__ import annotations

import fnmatch
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlsys.sinks.panels import STAGES, Panel
from mlsys.sinks.rows import CONFIG, Row, finite, is_number, label, varying

Figure = dict[str, Any]

LIGHT = ("#2a78d6", "#eb6834", "#1baf7a", "#4a3aa7", "#eda100", "#e87ba4", "#008300", "#e34948")
DARK = ("#3987e5", "#d95926", "#199e70", "#9085e9", "#c98500", "#d55181", "#4caf50", "#e66767")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot")
SMALLEST = 1e-17
GREY = "#808080"


@dataclass(frozen=True)
class Drawing:
    """What all panels of one section share: its rows and which of their keys tell runs apart."""

    table: Sequence[Row]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, table: Sequence[Row]) -> Drawing:
        """The drawing of `table`, all of one workload."""
        keys = [key for key in varying(table) if key not in {"config.n", "config.search.queries"}]
        if "config.reduction.name" in keys or _several(table, "reduction"):
            keys = [key for key in keys if key != "config.reduction.name"] + ["reduction"]
        keys += [
            key for key in ("machine", "device") if _several(table, key) and f"{CONFIG}{key}" not in keys
        ]
        return cls(table, tuple(keys))

    def name(self, row: Row, without: Sequence[str] = ()) -> str:
        """What tells this row's run from others, in words: `l2 · single_pass`, `batch · batching.max_size=8`."""
        words = [_word(key, row[key]) for key in self.keys if key not in without and row.get(key) is not None]
        return " · ".join(words)

    def slot(self, row: Row, color: str) -> int:
        """The place in the palette that this row's `color` value has in every panel."""
        values = list(dict.fromkeys(str(entry.get(color)) for entry in self.table))
        return values.index(str(row.get(color)))


def figure(panel: Panel, drawing: Drawing) -> Figure | None:
    """`{"data": [...], "layout": {...}}` for plotly; None where no row has what the panel shows."""
    traces = {"line": _lines, "bars": _bars, "stack": _stack, "histogram": _histogram, "parallel": _parallel}[
        panel.kind
    ](panel, drawing)
    if not traces:
        return None
    layout: Figure = {
        "xaxis": {
            "title": {"text": _axis(panel, drawing)},
            "type": "log" if panel.log_x else "-",
            "automargin": True,
        },
        "yaxis": {"title": {"text": panel.unit}, "type": "log" if panel.log_y else "-", "automargin": True},
        "barmode": "stack" if panel.kind == "stack" else "group",
    }
    if panel.kind in {"bars", "stack"}:
        layout["xaxis"] = {"type": "category", "automargin": True}
    if panel.kind == "histogram":
        layout["xaxis"]["title"] = {"text": "requests in the batch"}
    if panel.kind == "line" and not panel.log_y:
        layout["yaxis"]["rangemode"] = "tozero"
    if panel.unit == "share":
        layout["yaxis"] |= {"tickformat": ".0%", "title": {"text": ""}}
    if panel.reference is not None:
        line = {"color": GREY, "width": 1}
        layout["shapes"] = [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": panel.reference,
                "y1": panel.reference,
                "line": line,
            }
        ]
    return {"data": traces, "layout": layout}


def _lines(panel: Panel, drawing: Drawing) -> list[Figure]:
    traces: list[Figure] = []
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(drawing.table):
        if row["status"] == "ok" or row["level"] is not None:
            groups.setdefault(drawing.name(row) or str(row["workload"]), []).append(index)
    styles: dict[int, int] = {}
    for name, indices in groups.items():
        slot = drawing.slot(drawing.table[indices[0]], panel.color)
        style = styles[slot] = styles.get(slot, -1) + 1
        for order, y in enumerate(panel.y):
            trace = _line(panel, drawing.table, indices, y)
            if trace:
                several = len(panel.y) > 1
                dash = DASHES[(order if several else style) % len(DASHES)]
                traces.append(trace | _style(name, slot, dash, style, show=order == 0))
    return traces + _limits(panel, drawing) if traces else []


def _line(panel: Panel, table: Sequence[Row], indices: Sequence[int], y: str) -> Figure | None:
    points = [(table[i].get(panel.x), table[i].get(y), i) for i in indices]
    points = sorted((p for p in points if finite(p[0]) and finite(p[1])), key=lambda p: (p[0], p[2]))
    if not points:
        return None
    heights = [max(p[1], SMALLEST) if panel.log_y else p[1] for p in points]
    trace: Figure = {"type": "scatter", "mode": "lines+markers", "x": [p[0] for p in points], "y": heights}
    trace |= {"customdata": [p[2] for p in points]}
    spread = [(table[p[2]].get(f"{y}_p25"), table[p[2]].get(f"{y}_p75")) for p in points]
    if all(finite(low) and finite(high) for low, high in spread):
        up = [max(high - p[1], 0) for p, (_, high) in zip(points, spread, strict=True)]
        down = [max(p[1] - low, 0) for p, (low, _) in zip(points, spread, strict=True)]
        trace["error_y"] = {"type": "data", "array": up, "arrayminus": down, "thickness": 1, "width": 2}
    return trace


def _style(name: str, slot: int, dash: str, style: int, show: bool) -> Figure:
    color = LIGHT[slot % len(LIGHT)]
    return {
        "name": escape(name),
        "legendgroup": escape(name),
        "showlegend": show,
        "meta": {"slot": slot},
        "line": {"color": color, "dash": dash, "width": 2},
        "marker": {"color": color, "symbol": SYMBOLS[(slot + style) % len(SYMBOLS)], "size": 7},
    }


def _limits(panel: Panel, drawing: Drawing) -> list[Figure]:
    """One dashed line for each machine (or engine setting) at the median of what its runs measured."""
    traces: list[Figure] = []
    for limit in panel.limit:
        groups: dict[str, list[int]] = {}
        for index, row in enumerate(drawing.table):
            if finite(row.get(limit)) and finite(row.get(panel.x)):
                words = [
                    _word(key, row[key])
                    for key in drawing.keys
                    if _of_limit(key, panel) and row.get(key) is not None
                ]
                groups.setdefault(" · ".join(words), []).append(index)
        ends = [row[panel.x] for row in drawing.table if finite(row.get(panel.x))]
        for name, indices in groups.items():
            traces.append(
                _limit(label(limit), name, [drawing.table[i][limit] for i in indices], indices, ends)
            )
    return traces


def _of_limit(key: str, panel: Panel) -> bool:
    """The keys on which what the machine or the engine can do depends: not on metric, reduction or server mode."""
    if panel.workload == "serving":
        return key.startswith(
            ("config.generator.", "config.embedder.", "config.retriever.", "machine", "device")
        )
    return key in {"machine", "device", "config.device"}


def _limit(what: str, name: str, values: list[float], indices: list[int], ends: list[float]) -> Figure:
    height = statistics.median(values)
    words = what.removesuffix("_gbps").removesuffix("_rps").replace("_", " ")
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [min(ends), max(ends)],
        "y": [height, height],
        "name": escape(f"{words} {name}".strip()),
        "meta": {"slot": -1, "rows": indices, "text": f"{words} {name}: {height:.4g}"},
        "line": {"color": GREY, "dash": "dash", "width": 2},
    }


def _names(patterns: Sequence[str], table: Sequence[Row]) -> list[str]:
    """The rows' keys that the patterns match, in the rows' order."""
    keys = dict.fromkeys(key for row in table for key in row)
    return [key for pattern in patterns for key in keys if fnmatch.fnmatchcase(key, pattern)]


def _category(panel: Panel, drawing: Drawing, row: Row) -> str:
    x = row.get(panel.x)
    words = [drawing.name(row)]
    if _several(drawing.table, panel.x) and x is not None:
        words.append(f"{panel.x if panel.x != 'load' else 'at'} {x:g}" if is_number(x) else str(x))
    return escape(" · ".join(word for word in words if word) or str(row["run"]))


def _bars(panel: Panel, drawing: Drawing) -> list[Figure]:
    traces: list[Figure] = []
    for slot, name in enumerate(_names(panel.y, drawing.table)):
        points = [(i, row[name]) for i, row in enumerate(drawing.table) if finite(row.get(name))]
        if points:
            traces.append(
                {
                    "type": "bar",
                    "name": escape(name.partition(".")[2] or name),
                    "x": [_category(panel, drawing, drawing.table[i]) for i, _ in points],
                    "y": [value for _, value in points],
                    "customdata": [i for i, _ in points],
                    "meta": {"slot": slot},
                    "marker": {"color": LIGHT[slot % len(LIGHT)]},
                }
            )
    return traces


def _stack(panel: Panel, drawing: Drawing) -> list[Figure]:
    traces = _bars(panel, drawing)
    for trace in traces:
        trace["name"] = trace["name"].removesuffix(".mean")
    traces.sort(key=lambda trace: STAGES.index(trace["name"]) if trace["name"] in STAGES else len(STAGES))
    return traces


def _histogram(panel: Panel, drawing: Drawing) -> list[Figure]:
    traces: list[Figure] = []
    for index, row in enumerate(drawing.table):
        sizes = [(int(key.rsplit(".", 1)[1]), row[key]) for key in _names(panel.y, [row]) if finite(row[key])]
        if sizes and (len(sizes) > 1 or sizes[0][0] > 1):
            slot = drawing.slot(row, panel.color)
            traces.append(
                {
                    "type": "bar",
                    "name": _category(panel, drawing, row),
                    "x": [size for size, _ in sorted(sizes)],
                    "y": [count for _, count in sorted(sizes)],
                    "customdata": [index] * len(sizes),
                    "meta": {"slot": slot + len(traces)},
                    "marker": {"color": LIGHT[(slot + len(traces)) % len(LIGHT)]},
                }
            )
    return traces


def _parallel(panel: Panel, drawing: Drawing) -> list[Figure]:
    names = [name for name in panel.y if _several(drawing.table, name)]
    chosen = [i for i, row in enumerate(drawing.table) if all(finite(row.get(name)) for name in names)]
    settings = [name for name in names if name.startswith(CONFIG)]
    if not settings or len(chosen) < 3:
        return []
    dimensions = [
        {"label": escape(label(name)), "values": [drawing.table[i][name] for i in chosen]} for name in names
    ]
    colors = dimensions[-1]["values"]
    return [
        {
            "type": "parcoords",
            "dimensions": dimensions,
            "customdata": chosen,
            "meta": {"slot": -2},
            "line": {"color": colors, "colorscale": "Viridis", "showscale": False},
        }
    ]


def hover(row: Row, keys: Sequence[str]) -> str:
    """The conditions and main results of a row, for plotly's hover box (its own small markup, escaped)."""
    from mlsys.sinks.table import columns, text

    names = [*keys, *(name for name in columns([row], row["workload"]) if name not in keys)]
    lines = [f"{label(name)}: {text(row.get(name), name)}" for name in names if row.get(name) is not None]
    return "<br>".join(escape(line[:160]) for line in lines)


def escape(words: str) -> str:
    """Plotly reads a little HTML in its texts: what came from a record must not be read as such."""
    return str(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _axis(panel: Panel, drawing: Drawing) -> str:
    if panel.x == "load":
        open_loop = any(row.get("concurrency") is None for row in drawing.table)
        return "offered rate (req/s)" if open_loop else "requests in flight (concurrency)"
    return {"n": "n (elements)", "queries": "queries"}.get(panel.x, label(panel.x))


def _word(key: str, value: Any) -> str:
    short = label(key)
    if isinstance(value, str) and (
        key.endswith(".name") or key in {"reduction", "machine", "device", "config.dtype"}
    ):
        return value
    return f"{short}={value:g}" if is_number(value) else f"{short}={value}"


def _several(table: Sequence[Row], key: str) -> bool:
    return len({str(row.get(key)) for row in table if row.get(key) is not None}) > 1
