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

from mlsys.files import replace
from mlsys.formats.foreign import file_of
from mlsys.report import doubts, names, table
from mlsys.report.charts import figures, panels
from mlsys.report.charts.drawing import DARK, LIGHT, PARTS_DARK, PARTS_LIGHT, Drawing, Figure, escape
from mlsys.report.page import fragments
from mlsys.report.rows import CONFIG, Row, Runs, finite, is_number, label, varying

FILE_NAME = "index.html"


def write(directory: Path, runs: Runs, reload_s: float | None = None, published: Sequence[Row] = ()) -> Path:
    """Draw `runs` into `directory`/index.html in one step; returns its path.

    `reload_s`: a page that loads itself again that often, for following a sweep. `published`: rows of others' figures
    (`mlsys.report.published`), shown beside the runs.
    """
    return replace(directory / FILE_NAME, render(directory, runs, reload_s, published))


def render(directory: Path, runs: Runs, reload_s: float | None = None, published: Sequence[Row] = ()) -> str:
    """The whole page as text; links to records are relative to `directory`."""
    sections = names.by_workload(runs, published)
    titles = names.titles(sections)
    links = [os.path.relpath(place / file_of(entry), directory) for place, entry in runs]
    drawn = {name: _section(name, rows, links, titles) for name, rows in sections.items()}
    data = {name: payload for name, (_, payload) in drawn.items()}
    parts = {
        "title": html.escape(f"mlsys: {', '.join(sections) or 'no runs'}"),
        "reload": f'<meta http-equiv="refresh" content="{reload_s:g}">' if reload_s else "",
        "css": _asset("page.css"),
        "head": fragments.head(runs),
        "answers": fragments.answers(sections),
        "warnings": fragments.warnings(doubts.warnings(runs, sections), bool(published)),
        "sections": "\n".join(markup for markup, _ in drawn.values()) or "<p>No runs yet.</p>",
        "runs": fragments.runs(runs, links, titles),
        "environment": fragments.environments(runs, titles),
        "data": _json(
            {"sections": data, "light": _colors(LIGHT, PARTS_LIGHT), "dark": _colors(DARK, PARTS_DARK)}
        ),
        "plotly": _plotly(),
        "js": "".join(_asset(name) for name in ("table.js", "charts.js", "naming.js", "page.js")),
    }
    page = _asset("page.html")
    pieces = page.split("{{")
    return pieces[0] + "".join(
        parts[name] + rest for name, _, rest in (piece.partition("}}") for piece in pieces[1:])
    )


def _colors(runs: Sequence[str], parts: dict[str, str]) -> dict[str, Any]:
    return {"runs": runs, "parts": parts}


def _section(
    name: str, rows: list[Row], links: list[str], titles: dict[int, str]
) -> tuple[str, dict[str, Any]]:
    drawing = Drawing.of(rows)
    plots = [(panel, figures.figure(panel, drawing)) for panel in panels.of(name)]
    shown = [(panel, plot) for panel, plot in plots if plot is not None]
    columns = table.columns(rows, name)
    markup = fragments.section(name, [panel for panel, _ in shown], rows, columns, links, titles)
    numeric = _numbers(rows)
    payload = {
        "plots": {panel.name: _slim(plot) for panel, plot in shown},
        "axes": {key: label(key) for key in numeric},
        "values": {key: [_brief(row.get(key)) for row in rows] for key in numeric},
    }
    return markup, payload | _naming(rows, drawing)


def _naming(rows: list[Row], drawing: Drawing) -> dict[str, Any]:
    """Each name as its words, and which name and load each row has: what the page needs to write names shorter."""
    found: dict[str, int] = {}
    words: list[list[str]] = []
    of = []
    for row in rows:
        full = drawing.name(row)
        if full not in found:
            found[full] = len(found)
            words.append([escape(word) for word in drawing.names.words(row)])
        of.append(found[full])
    place = {"distance": "n", "search": "queries", "pairs": "dim", "cdist": "rows"}.get(
        rows[0]["workload"], "load"
    )
    places = [row.get(place) if finite(row.get(place)) else None for row in rows]
    tails = [escape(drawing.tail(place, row)) for row in rows]
    return {
        "words": words,
        "full": [escape(name) for name in found],
        "of": of,
        "places": places,
        "tails": tails,
    }


def _slim(figure: Figure) -> Figure:
    """A figure without what the page makes itself (the names of bars) and without digits that nobody sees."""
    data = []
    for trace in figure["data"]:
        kept = {key: value for key, value in trace.items() if key != "y" or trace["meta"].get("names") != "y"}
        kept |= {axis: [_brief(value, value) for value in kept[axis]] for axis in ("x", "y") if axis in kept}
        data.append(kept)
    return figure | {"data": data}


def _numbers(rows: list[Row]) -> list[str]:
    """The numbers worth an axis of one's own choice: settings that differ, and results but for details of details."""
    keys = dict.fromkeys(key for row in rows for key in row if key not in {"record", "level"})
    settings = set(varying(rows))
    kept = [key for key in keys if key in settings or not key.startswith(CONFIG)]
    kept = [key for key in kept if not key.endswith(("_p25", "_p75")) and ".hist." not in key]
    return [key for key in kept if any(is_number(row.get(key)) for row in rows)]


def _brief(value: Any, otherwise: Any = None) -> Any:
    """A number to plot, in the digits that can be seen; the table and the records have them all."""
    if not finite(value):
        return otherwise
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _json(content: Any) -> str:
    """JSON that cannot end its script element, whatever a record holds."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@functools.cache
def _asset(name: str) -> str:
    return resources.files("mlsys.report.page").joinpath(name).read_text("utf-8")


@functools.cache
def _plotly() -> str:
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
