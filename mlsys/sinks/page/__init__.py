"""`index.html`: any mixture of runs as one self-contained page that needs no network and no server."""

from __future__ import annotations

import functools
import html
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from mlsys.sinks import figures, panels, table
from mlsys.sinks.drawing import DARK, LIGHT, Drawing, escape
from mlsys.sinks.files import replace
from mlsys.sinks.page import fragments
from mlsys.sinks.rows import CONFIG, Row, Runs, finite, is_number, label

FILE_NAME = "index.html"


def write(directory: Path, runs: Runs, reload_s: float | None = None, published: Sequence[Row] = ()) -> Path:
    """Draw `runs` into `directory`/index.html in one step; returns its path.

    `reload_s`: a page that loads itself again that often, for following a sweep. `published`: rows of others' figures
    (`mlsys.sinks.rows.published`), shown beside the runs.
    """
    return replace(directory / FILE_NAME, render(directory, runs, reload_s, published))


def render(directory: Path, runs: Runs, reload_s: float | None = None, published: Sequence[Row] = ()) -> str:
    """The whole page as text; links to records are relative to `directory`."""
    sections = table.by_workload(runs, published)
    links = [os.path.relpath(place / "record.json", directory) for place, _ in runs]
    drawn = {name: _section(name, rows, links) for name, rows in sections.items()}
    data = {name: payload for name, (_, payload) in drawn.items()}
    parts = {
        "title": html.escape(f"mlsys: {', '.join(sections) or 'no runs'}"),
        "reload": f'<meta http-equiv="refresh" content="{reload_s:g}">' if reload_s else "",
        "css": _asset("page.css"),
        "head": fragments.head(runs),
        "warnings": fragments.warnings(runs, bool(published)),
        "sections": "\n".join(markup for markup, _ in drawn.values()) or "<p>No runs yet.</p>",
        "runs": fragments.runs(runs, links),
        "environment": fragments.environments(runs),
        "data": _json({"sections": data, "light": LIGHT, "dark": DARK}),
        "plotly": _plotly(),
        "js": _asset("table.js") + _asset("charts.js") + _asset("page.js"),
    }
    page = _asset("page.html")
    pieces = page.split("{{")
    return pieces[0] + "".join(
        parts[name] + rest for name, _, rest in (piece.partition("}}") for piece in pieces[1:])
    )


def _section(name: str, rows: list[Row], links: list[str]) -> tuple[str, dict[str, Any]]:
    drawing = Drawing.of(rows)
    plots = [(panel, figures.figure(panel, drawing)) for panel in panels.of(name)]
    shown = [(panel, plot) for panel, plot in plots if plot is not None]
    columns = table.columns(rows, name)
    markup = fragments.section(name, [panel for panel, _ in shown], rows, columns, links)
    numeric = [key for key in _numbers(rows) if not key.endswith(("_p25", "_p75"))]
    payload = {
        "plots": {panel.name: plot for panel, plot in shown},
        "hover": [figures.hover(row, drawing.keys) for row in rows],
        "names": [escape(drawing.name(row) or str(row["run"])) for row in rows],
        "axes": {key: label(key) for key in numeric},
        "values": {key: [row.get(key) if finite(row.get(key)) else None for row in rows] for key in numeric},
    }
    return markup, payload


def _numbers(rows: list[Row]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row if key not in {"record", "level"})
    different = [
        key for key in keys if len({str(row.get(key)) for row in rows}) > 1 or not key.startswith(CONFIG)
    ]
    return [key for key in different if any(is_number(row.get(key)) for row in rows)]


def _json(content: Any) -> str:
    """JSON that cannot end its script element, whatever a record holds."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@functools.cache
def _asset(name: str) -> str:
    return resources.files("mlsys.sinks.page").joinpath(name).read_text("utf-8")


@functools.cache
def _plotly() -> str:
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
