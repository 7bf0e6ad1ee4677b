"""The page of a search: what was tried as cost against latency, the frontier, and the answer above it in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from mlsys.errors import UserError
from mlsys.files import replace
from mlsys.plan import told
from mlsys.plan.objective import Price
from mlsys.plan.search import Outcome, Search
from mlsys.report.charts.drawing import GREY, LIGHT

Figure = dict[str, Any]
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "pre{overflow-x:auto;background:#8881;padding:.6rem;border-radius:.3rem}li{margin:.6rem 0}"
)


def figure(search: Search, plans: Sequence[Outcome], price: Price) -> Figure:
    """Plotly's, as plain dicts: a series a kind, the interval as a bar, the limit and the frontier as lines."""
    kinds = dict.fromkeys(one.candidate.kind for one in search.tried)
    traces = [_series(search, kind, LIGHT[slot % len(LIGHT)], price) for slot, kind in enumerate(kinds)]
    frontier = _frontier(search, price)
    line: Figure = {
        "x": [x for x, _ in frontier],
        "y": [y for _, y in frontier],
        "mode": "lines",
        "type": "scatter",
    }
    traces.append(
        line | {"name": "frontier", "line": {"color": GREY, "width": 1, "shape": "hv"}, "hoverinfo": "skip"}
    )
    limit_ms = search.objective.limit_ms
    limit = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": limit_ms, "y1": limit_ms}
    unit = "replicas" if price.an_hour is None else f"cost an hour ({price.name})"
    tops = [1.5 * limit_ms, *(1.1 * one.high_ms for one in plans)]
    return {
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": unit}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": f"{search.objective.figure} (ms)"}, "range": [0, max(tops)]},
            "shapes": [limit | {"line": {"color": "#e34948", "width": 1, "dash": "dash"}}],
            "template": "none",
            "legend": {"orientation": "h"},
        },
    }


def _series(search: Search, kind: str, color: str, price: Price) -> Figure:
    found = [one for one in search.tried if one.candidate.kind == kind and math.isfinite(one.high_ms)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": kind,
        "x": [price.of(one.candidate.replicas) for one in found],
        "y": [one.latency_ms for one in found],
        "text": [told.title(one) for one in found],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [one.high_ms - one.latency_ms for one in found],
            "arrayminus": [one.latency_ms - one.low_ms for one in found],
        },
        "marker": {
            "color": color,
            "size": 11,
            "symbol": ["circle" if one.holds else "circle-open" for one in found],
        },
    }


def _frontier(search: Search, price: Price) -> list[tuple[float, float]]:
    """The least latency for each cost, as far as more cost brings less."""
    found: list[tuple[float, float]] = []
    order = sorted((price.of(one.candidate.replicas), one.latency_ms) for one in search.tried if one.holds)
    for cost, latency_ms in order:
        if not found or latency_ms < found[-1][1]:
            found.append((cost, latency_ms))
    return found


def write(path: Path, search: Search, plans: Sequence[Outcome], price: Price, basis: str) -> Path:
    """One file that needs no network. Raises UserError without plotly."""
    try:
        from plotly import io
    except ModuleNotFoundError:
        raise UserError('--page needs plotly: pip install -e ".[page]"') from None
    drawn = io.to_html(
        figure(search, plans, price), full_html=False, include_plotlyjs=True, default_height=480
    )
    asked = f"{search.rate_rps:g} requests/s with {search.objective}"
    items = []
    for one in plans:
        head, latency, line = told.plan(search, one, price)
        items.append(
            f"<li><b>{escape(head)}</b> {escape(latency)}<pre><code>{escape(line)}</code></pre></li>"
        )
    answer = f"<ol>{''.join(items)}</ol>" if items else f"<p>{escape(told.none(search))}</p>"
    doubts = "".join(f"<li>{escape(text)}</li>" for text in dict.fromkeys(told.unknown(search, plans)))
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>mlsys: a plan for {escape(asked)}</title>"
        f"<style>{STYLE}</style><h1>A plan for {escape(asked)}</h1>{answer}<p>{escape(basis)} "
        "Everything here is simulated.</p><h2>Cost against latency</h2><p>Filled: holds the limit. Bars: 95 %, by "
        f"sample and model.</p>{drawn}<h2>What is not known</h2><ul>{doubts}</ul></html>\n"
    )
    return replace(path, page)
