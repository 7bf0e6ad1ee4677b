"""Traces that are bars, and those of the settings' parallel coordinates."""

from __future__ import annotations

import fnmatch
import math
import statistics
from collections.abc import Sequence

from mlsys.sinks.drawing import LIGHT, OWN_COLORS, Drawing, Figure, escape, several
from mlsys.sinks.panels import STAGES, Panel
from mlsys.sinks.rows import CONFIG, Row, finite, is_number, label

LINEAR_UP_TO = 100  # between the shortest and the longest bar; beyond it the short ones cannot be seen
LEAST_BAR = 0.2  # decades
PATTERNS = ("", "/", ".", "x")


def _names(patterns: Sequence[str], table: Sequence[Row]) -> list[str]:
    """The rows' keys that the patterns match, in the rows' order."""
    keys = dict.fromkeys(key for row in table for key in row)
    return [key for pattern in patterns for key in keys if fnmatch.fnmatchcase(key, pattern)]


def _category(panel: Panel, drawing: Drawing, row: Row) -> str:
    x = row.get(panel.x)
    words = [drawing.name(row) or str(row.get(panel.color, row["run"]))]
    if x is not None and several(drawing.table, panel.x):
        short = f"{x:.4g}".replace("e+0", "e") if is_number(x) else str(x)
        words.append(f"at {short}" if panel.x == "load" else f"{panel.x}={short}")
    return escape(" · ".join(words))


def bars(panel: Panel, drawing: Drawing) -> list[Figure]:
    """A bar a name and place; of repeated runs the median."""
    traces = []
    for slot, name in enumerate(_names(panel.y, drawing.table)):
        found: dict[str, list[int]] = {}
        for i, row in enumerate(drawing.table):
            if finite(row.get(name)):
                found.setdefault(_category(panel, drawing, row), []).append(i)
        if found:
            middles = [statistics.median(drawing.table[i][name] for i in rows) for rows in found.values()]
            drawn: Figure = {"orientation": "h", "y": list(found), "x": middles}
            drawn["customdata"] = [rows[0] for rows in found.values()]
            traces.append(_bar(name.partition(".")[2] or name, slot, drawn))
    return traces


def value_axis(unit: str, traces: Sequence[Figure]) -> Figure:
    """The axis along which bars grow: logarithmic, and saying so, where a linear one would hide the shortest.

    A bar on a logarithmic axis starts at the axis' edge, not at a zero, so the edge is left of the least value.
    """
    values = [value for trace in traces for value in trace["x"]]
    if min(values) <= 0 or max(values) <= LINEAR_UP_TO * min(values):
        return {"title": {"text": unit}}
    low, high = math.floor(math.log10(min(values)) - LEAST_BAR), math.log10(max(values))
    about = f"{unit} (logarithmic scale)".strip()
    return {"title": {"text": about}, "type": "log", "dtick": 1, "range": [low, high + 0.05 * (high - low)]}


def _bar(name: str, slot: int, bars: Figure) -> Figure:
    color = {"color": LIGHT[slot % len(LIGHT)]}
    return {"type": "bar", "name": escape(name), "meta": {"slot": slot}, "marker": color} | bars


def stack(panel: Panel, drawing: Drawing) -> list[Figure]:
    """Bars for a layout that stacks them; stages in the order of a request's life."""
    traces = bars(panel, drawing)
    for trace in traces:
        trace["name"] = trace["name"].removesuffix(".mean")
    return sorted(
        traces, key=lambda trace: STAGES.index(trace["name"]) if trace["name"] in STAGES else len(STAGES)
    )


def histogram(panel: Panel, drawing: Drawing) -> list[Figure]:
    """One series a configuration, at its highest load; one that never had two requests in a batch shows nothing."""
    highest: dict[str, int] = {}
    for i, row in enumerate(drawing.table):
        best = highest.get(drawing.name(row))
        if finite(row.get(panel.x)) and (best is None or row[panel.x] > drawing.table[best][panel.x]):
            highest[drawing.name(row)] = i
    traces: list[Figure] = []
    for i in highest.values():
        row = drawing.table[i]
        sizes = [(int(key.rsplit(".", 1)[1]), row[key]) for key in _names(panel.y, [row]) if finite(row[key])]
        if any(size > 1 for size, _ in sizes):
            sizes.sort()
            drawn: Figure = {"x": [size for size, _ in sizes], "y": [count for _, count in sizes]}
            drawn["customdata"] = [i] * len(sizes)
            trace = _bar(_category(panel, drawing, row), drawing.slot(row, panel.color), drawn)
            same = sum(trace["meta"] == other["meta"] for other in traces)
            trace["marker"]["pattern"] = {"shape": PATTERNS[same % len(PATTERNS)]}
            traces.append(trace)
    return [trace | {"width": 0.85 / len(traces)} for trace in traces]


def parallel(panel: Panel, drawing: Drawing) -> list[Figure]:
    """Parallel coordinates, where a setting differs and there are three points or more."""
    names = [name for name in panel.y if several(drawing.table, name)]
    chosen = [i for i, row in enumerate(drawing.table) if all(finite(row.get(name)) for name in names)]
    if not any(name.startswith(CONFIG) for name in names) or len(chosen) < 3:
        return []
    dimensions = [
        {"label": escape(label(name)), "values": [drawing.table[i][name] for i in chosen]} for name in names
    ]
    line = {"color": dimensions[-1]["values"], "colorscale": "Blues", "showscale": False}
    whole = {"customdata": chosen, "meta": {"slot": OWN_COLORS}, "line": line}
    return [{"type": "parcoords", "dimensions": dimensions} | whole]
