"""Traces of what one level holds beyond its figures: how times are spread, and how they went in its course."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mlsys.report.charts.drawing import LIGHT, Drawing, Figure, escape
from mlsys.report.charts.panels import Panel
from mlsys.report.rows import COURSE, Row, finite

DASHES = ("solid", "dash")
SYMBOLS = ("circle", "square")
BY_SECOND = ("throughput_rps", "lost_rps", "replicas_up")  # of a level that met a fault
MOST_RUNS = 60
BINS_PER_DECADE = 10  # as mlsys.loadtest.token_statistics counts them


def distribution(panel: Panel, drawing: Drawing) -> list[Figure]:
    """A step line a configuration, at its highest load: the share of values in each bin."""
    prefix = panel.y[0].removesuffix("*")
    traces = []
    for row, index in _highest(panel, drawing):
        counts = {
            float(key.removeprefix(prefix)): value
            for key, value in row.items()
            if key.startswith(prefix) and finite(value)
        }
        if counts:
            edges, shares = _steps(counts)
            made = _styled(panel, drawing, row, order=0) | {"x": edges, "y": shares, "mode": "lines"}
            made["line"] |= {"shape": "vh"}  # a bin's share stands up to its edge
            traces.append(made | {"customdata": [index] * len(edges)})
    return traces


def _steps(counts: Mapping[float, float]) -> tuple[list[float], list[float]]:
    """Edges from one below the least to one above the largest, and shares: empty bins between are 0."""
    by_place = {round(BINS_PER_DECADE * math.log10(edge)): count for edge, count in counts.items()}
    total = sum(by_place.values())
    places = range(min(by_place) - 1, max(by_place) + 2)
    edges = [10 ** (place / BINS_PER_DECADE) for place in places]
    return edges, [by_place.get(place, 0) / total for place in places]


def timeline(panel: Panel, drawing: Drawing) -> list[Figure]:
    """A line a configuration and figure, at its highest load that has a course."""
    traces = []
    for row, index in _highest(panel, drawing):
        course = row.get(COURSE) or {}
        drawn = 0
        for order, name in enumerate(panel.y):
            across, up = course.get("second" if name in BY_SECOND else "s", []), course.get(name, [])
            if len(across) == len(up) > 0:
                made = _styled(panel, drawing, row, order) | {"x": across, "y": up, "mode": "lines+markers"}
                traces.append(made | {"customdata": [index] * len(up), "showlegend": not drawn})
                drawn += 1
    return traces


def _highest(panel: Panel, drawing: Drawing) -> list[tuple[Row, int]]:
    """Each run's row at its highest place, and that row's index; nothing where lines would hide one another."""
    found: dict[str, int] = {}
    for index, row in enumerate(drawing.table):
        best = found.get(drawing.name(row))
        if finite(row.get(panel.x)) and (best is None or row[panel.x] > drawing.table[best][panel.x]):
            found[drawing.name(row)] = index
    return [(drawing.table[index], index) for index in found.values()] if len(found) <= MOST_RUNS else []


def _styled(panel: Panel, drawing: Drawing, row: Row, order: int) -> Figure:
    slot = drawing.slot(row, panel.color)
    color = LIGHT[slot % len(LIGHT)]
    name = escape(drawing.name(row) + drawing.tail(panel.x, row))
    return {
        "type": "scatter",
        "name": name,
        "legendgroup": name,
        "meta": {"slot": slot, "names": "name at"},
        "line": {"color": color, "width": 2, "dash": DASHES[order]},
        "marker": {"color": color, "size": 5, "symbol": SYMBOLS[order]},
    }
