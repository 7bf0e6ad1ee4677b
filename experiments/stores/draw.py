"""Recall against queries a second: python experiments/stores/draw.py RECORD.json PAGE.html

`docs/pictures/shoot.py PAGE.html PICTURE.png` makes a picture of the page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from plotly.subplots import make_subplots

from mlsys.report.charts.drawing import LIGHT

PANELS = {"queries_per_s": "one query at a time", "queries_per_s_batch_64": "batches of 64"}
APPROXIMATE = ("hnsw", "ivf_pq")


def main(record: Path, page: Path) -> None:
    """A panel for each way of asking; a colour for each library, a line where a knob trades recall for speed."""
    points: list[dict[str, Any]] = json.loads(record.read_text())
    stores = list(dict.fromkeys(point["store"] for point in points))
    colours = {
        library: LIGHT[i % len(LIGHT)]
        for i, library in enumerate(dict.fromkeys(s.split()[0] for s in stores))
    }
    figure = make_subplots(
        1, 2, shared_yaxes=True, subplot_titles=list(PANELS.values()), horizontal_spacing=0.03
    )
    for column, figures in enumerate(PANELS, 1):
        for store in stores:
            own = sorted((p for p in points if p["store"] == store), key=lambda p: p["recall"])
            walked = store.endswith(APPROXIMATE)
            figure.add_scatter(
                row=1, col=column, name=store, legendgroup=store, showlegend=column == 1,
                x=[p["recall"] for p in own], y=[p[figures] for p in own],
                mode="lines+markers" if walked else "markers",
                line={"color": colours[store.split()[0]], "width": 2, "dash": "dot" if "ivf" in store else "solid"},
                marker={"color": colours[store.split()[0]], "size": 8 if walked else 12,
                        "symbol": "circle" if walked else "diamond"},
            )  # fmt: skip
    figure.update_xaxes(title="recall of 10", tickformat=".2f", gridcolor="#e8e8e8")
    figure.update_yaxes(type="log", gridcolor="#e8e8e8", dtick=1)
    figure.update_yaxes(title="queries/s (log)", col=1)
    figure.update_layout(
        template="plotly_white", width=1180, height=560, font={"size": 14},
        title=f"Stores: recall against queries a second, {record.stem} vectors of 384 numbers, one core",
    )  # fmt: skip
    figure.write_html(page, include_plotlyjs=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
