"""A panel and rows become a plotly figure (plain dicts): the page draws it, W&B takes it as it is.

Every point carries the index of its row as `customdata`, so the page can filter;
every trace carries `meta.slot`, the place of its colour in the palette, so that the page can change it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlsys.sinks.panels import Panel
from mlsys.sinks.rows import CONFIG, MEASURED, Row, finite, is_number, label, varying

Figure = dict[str, Any]

LIGHT = ("#2a78d6", "#eb6834", "#1baf7a", "#4a3aa7", "#eda100", "#e87ba4", "#008300", "#e34948")
DARK = ("#3987e5", "#d95926", "#199e70", "#9085e9", "#c98500", "#d55181", "#4caf50", "#e66767")
GREY = "#808080"
AXES = {"config.n", "config.search.queries"}
# With how much care something was measured, not what: such runs are repeats of each other.
CARE = tuple(
    CONFIG + name
    for name in (
        *("baselines", "repeats", "warmup", "time_limit_s", "seed", "compare."),
        *(
            "loadtest.requests",
            "loadtest.repeats",
            "loadtest.warmup",
            "loadtest.duration",
            "loadtest.quality",
        ),
        *("loadtest.engine", "search.peers", "search.reference_queries"),
    )
)
LIMIT_SLOT, OWN_COLORS = -1, -2
SPEAKING = {"reduction", "machine", "source", "device", "config.dtype", "config.generator.dtype"}


@dataclass(frozen=True)
class Drawing:
    """What all panels of one section share: its rows and which of their keys tell runs apart."""

    table: Sequence[Row]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, table: Sequence[Row]) -> Drawing:
        """The drawing of `table`, all of one workload. What failed and has no figures names nothing."""
        told = [row for row in table if row["status"] == "ok" or row["level"] is not None] or table
        keys = [key for key in varying(told) if key not in AXES and not key.startswith(CARE)]
        if "config.reduction.name" in keys or several(told, "reduction"):
            keys = [key for key in keys if key != "config.reduction.name"] + ["reduction"]
        more = [key for key in ("machine", "device", "source") if several(told, key)]
        keys += [key for key in more if f"{CONFIG}{key}" not in keys]
        return cls(table, tuple(keys))

    def name(self, row: Row) -> str:
        """What tells this row's run from others: `l2 · single_pass`, `batch · batching.max_size=8`."""
        told = [key for key in self.keys if row.get(key) not in {None, MEASURED}]
        return " · ".join(self.word(key, row[key]) for key in told)

    def word(self, key: str, value: Any) -> str:
        """A key and its value as they stand in a name: the bare value where that explains itself."""
        if isinstance(value, str) and (key.endswith(".name") or key in SPEAKING):
            return value
        short = label(key).rpartition(".")[2]
        if sum(label(other).rpartition(".")[2] == short for other in self.keys) > 1:
            short = label(key)
        return f"{short}={value:g}" if is_number(value) else f"{short}={value}"

    def slot(self, row: Row, color: str) -> int:
        """The place in the palette that this row has in every panel: by `color`, or where all share it by name."""
        if several(self.table, color):
            values = list(dict.fromkeys(str(entry.get(color)) for entry in self.table))
            return values.index(str(row.get(color)))
        return list(dict.fromkeys(self.name(entry) for entry in self.table)).index(self.name(row))


def figure(panel: Panel, drawing: Drawing) -> Figure | None:
    """`{"data": [...], "layout": {...}}` for plotly; None where no row has what the panel shows."""
    from mlsys.sinks import bars, traces

    if panel.kind == "line" and not several([row for row in drawing.table if panel.y[0] in row], panel.x):
        return traces.dots(panel, drawing)
    data = traces.of(panel, drawing)
    if not data:
        return None
    made = layout(panel, drawing)
    if panel.kind == "bars":
        made["xaxis"] |= bars.value_axis(panel.unit, data)
    return {"data": data, "layout": made}


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
    if panel.kind == "line" and not panel.log_y:
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
    return made


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


def hover(row: Row, keys: Sequence[str]) -> str:
    """The conditions and main results of a row, for plotly's hover box (its own small markup, escaped)."""
    from mlsys.sinks.table import columns, text

    names = [*keys, *(name for name in columns([row], row["workload"]) if name not in keys)]
    lines = [f"{label(name)}: {text(row.get(name), name)}" for name in names if row.get(name) is not None]
    return "<br>".join(escape(line[:160]) for line in lines)


def escape(words: object) -> str:
    """Plotly reads a little HTML in its texts: what came from a record must not be read as such."""
    return str(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def several(table: Sequence[Row], key: str) -> bool:
    """Whether the rows that have the key differ in it."""
    return len({str(row[key]) for row in table if row.get(key) is not None}) > 1
