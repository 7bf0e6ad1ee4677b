"""Recall against queries a second: python experiments/stores/draw.py RECORD.json PAGE.html

`docs/pictures/shoot.py PAGE.html PICTURE.png` makes a picture of the page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from mlsys.report.charts.drawing import LIGHT

APPROXIMATE = ("hnsw", "ivf_pq")


def front(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that no other of the store beats in both, by recall: what a user would choose from."""
    kept: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda p: (-p["recall"], -p["queries_per_s"])):
        if not kept or point["queries_per_s"] > kept[-1]["queries_per_s"]:
            kept.append(point)
    return kept[::-1]


def main(record: Path, page: Path) -> None:
    """A colour for each library, a line where a knob trades recall for speed."""
    points: list[dict[str, Any]] = json.loads(record.read_text())
    stores = list(dict.fromkeys(point["store"] for point in points))
    colours = {
        library: LIGHT[i % len(LIGHT)]
        for i, library in enumerate(dict.fromkeys(s.split()[0] for s in stores))
    }
    figure = go.Figure()
    for store in stores:
        own = front([point for point in points if point["store"] == store])
        walked, colour = store.endswith(APPROXIMATE), colours[store.split()[0]]
        figure.add_scatter(
            name=store, x=[p["recall"] for p in own], y=[p["queries_per_s"] for p in own],
            mode="lines+markers" if walked else "markers", line={"color": colour, "width": 2},
            marker={"color": colour, "size": 8 if walked else 12, "symbol": "circle" if walked else "diamond"},
        )  # fmt: skip
    figure.update_xaxes(title="recall of 10", tickformat=".2f", gridcolor="#e8e8e8")
    figure.update_yaxes(title="queries/s, one at a time (log)", type="log", gridcolor="#e8e8e8", dtick=1)
    figure.update_layout(
        template="plotly_white", width=1180, height=560, font={"size": 14},
        title=f"Recall against queries a second: {record.stem} vectors of 384 numbers, one core",
    )  # fmt: skip
    figure.write_html(page, include_plotlyjs=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
