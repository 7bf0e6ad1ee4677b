"""Traces that are bars, and those of the settings' parallel coordinates."""

from __future__ import annotations

import fnmatch
import math
import statistics
from collections.abc import Sequence

from mlsys.report.charts.drawing import GREY, LIGHT, OWN_COLORS, PARTS_LIGHT, Drawing, Figure, escape
from mlsys.report.charts.panels import Panel
from mlsys.report.rows import CONFIG, Row, finite, label

LINEAR_UP_TO = 100  # between the shortest and the longest bar; beyond it the short ones cannot be seen
LEAST_BAR = 0.2  # decades
PATTERNS = ("", "/", ".", "x")


def _names(patterns: Sequence[str], table: Sequence[Row]) -> list[str]:
    """The rows' keys that the patterns match, in the rows' order."""
    keys = dict.fromkeys(key for row in table for key in row)
    return [key for pattern in patterns for key in keys if fnmatch.fnmatchcase(key, pattern)]


def bars(panel: Panel, drawing: Drawing) -> list[Figure]:
    """A series a run, a bar for each of the panel's names and places of x; of repeated runs the median."""
    traces: dict[str, dict[str, list[int]]] = {}
    keys = {}
    order = sorted(range(len(drawing.table)), key=lambda i: _place(drawing.table[i].get(panel.x)))
    for name in _names(panel.y, drawing.table):
        for i in order:
            row = drawing.table[i]
            if finite(row.get(name)):
                bar = escape(name.partition(".")[2] or name) + escape(drawing.tail(panel.x, row))
                keys[bar] = name
                traces.setdefault(drawing.name(row), {}).setdefault(bar, []).append(i)
    return [
        _bar(name, drawing.slot(drawing.table[next(iter(found.values()))[0]], panel.color))
        | _across({(bar, keys[bar]): rows for bar, rows in found.items()}, drawing)
        for name, found in traces.items()
    ]


def _place(x: object) -> float:
    return x if finite(x) else 0.0


def order(panel: Panel, drawing: Drawing) -> list[str]:
    """The bars' texts from top to bottom: of runs in the table's order, of baselines by size."""
    if panel.kind == "stack":
        texts = (escape(drawing.name(row) + drawing.tail(panel.x, row)) for row in drawing.table)
        return list(dict.fromkeys(texts))
    found: dict[str, tuple[int, float]] = {}
    for place, key in enumerate(_names(panel.y, drawing.table)):
        for row in drawing.table:
            text = escape((key.partition(".")[2] or key) + drawing.tail(panel.x, row))
            found.setdefault(text, (place, _place(row.get(panel.x))))
    return sorted(found, key=lambda text: found[text])


def _across(found: dict[tuple[str, str], list[int]], drawing: Drawing) -> Figure:
    """Bars that lie: their texts, lengths and rows."""
    middles = [statistics.median(drawing.table[i][key] for i in rows) for (_, key), rows in found.items()]
    drawn: Figure = {"orientation": "h", "y": [bar for bar, _ in found], "x": middles}
    return drawn | {"customdata": [rows[0] for rows in found.values()]}


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


def _bar(name: str, slot: int) -> Figure:
    color = {"color": LIGHT[slot % len(LIGHT)]}
    return {"type": "bar", "name": escape(name), "meta": {"slot": slot, "names": "name"}, "marker": color}


def stack(panel: Panel, drawing: Drawing) -> list[Figure]:
    """A bar a run and place, made of parts in the order of `members`, each in a colour that no run has."""
    traces = []
    for key in _names(panel.y, drawing.table):
        part = key.removesuffix(".mean").removesuffix("_ms").rpartition(".")[2]
        found: dict[tuple[str, str], list[int]] = {}
        for i, row in enumerate(drawing.table):
            if finite(row.get(key)):
                bar = escape(drawing.name(row) + drawing.tail(panel.x, row))
                found.setdefault((bar, key), []).append(i)
        if found:
            meta = {"part": part, "names": "y"}
            color = {"color": PARTS_LIGHT.get(part, GREY)}
            look: Figure = {"type": "bar", "name": escape(part), "meta": meta, "marker": color}
            traces.append(look | _across(found, drawing))
    order = {part: place for place, part in enumerate((*panel.members, "outside"))}
    return sorted(traces, key=lambda trace: order.get(trace["meta"]["part"], len(order)))


def histogram(panel: Panel, drawing: Drawing) -> list[Figure]:
    """One series a configuration, at its highest load; one that never had two requests in a batch shows nothing."""
    highest: dict[str, int] = {}
    for i, row in enumerate(drawing.table):
        best = highest.get(drawing.name(row))
        if finite(row.get(panel.x)) and (best is None or row[panel.x] > drawing.table[best][panel.x]):
            highest[drawing.name(row)] = i
    traces: list[Figure] = []
    for name, i in highest.items():
        row = drawing.table[i]
        sizes = [(int(key.rsplit(".", 1)[1]), row[key]) for key in _names(panel.y, [row]) if finite(row[key])]
        if any(size > 1 for size, _ in sizes):
            sizes.sort()
            drawn: Figure = {"x": [size for size, _ in sizes], "y": [count for _, count in sizes]}
            trace = _bar(name, drawing.slot(row, panel.color)) | drawn | {"customdata": [i] * len(sizes)}
            trace["name"] += escape(drawing.tail(panel.x, row))
            trace["meta"] |= {"names": "name at"}
            same = sum(trace["meta"]["slot"] == other["meta"]["slot"] for other in traces)
            trace["marker"]["pattern"] = {"shape": PATTERNS[same % len(PATTERNS)]}
            traces.append(trace)
    return [trace | {"width": 0.85 / len(traces)} for trace in traces]


def parallel(panel: Panel, drawing: Drawing) -> list[Figure]:
    """Parallel coordinates, where a setting differs and there are three points or more."""
    names = [name for name in panel.y if drawing.several(name)]
    chosen = [i for i, row in enumerate(drawing.table) if all(finite(row.get(name)) for name in names)]
    if not any(name.startswith(CONFIG) for name in names) or len(chosen) < 3:
        return []
    dimensions = [
        {"label": escape(label(name)), "values": [drawing.table[i][name] for i in chosen]} for name in names
    ]
    line = {"color": dimensions[-1]["values"], "colorscale": "Blues", "showscale": False}
    whole = {"customdata": chosen, "meta": {"slot": OWN_COLORS}, "line": line}
    return [{"type": "parcoords", "dimensions": dimensions} | whole]
