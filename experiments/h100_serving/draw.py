"""A step's time and MBU by its rows: python experiments/h100_serving/draw.py records/steps.json PAGE.html

`docs/pictures/shoot.py PAGE.html PICTURE.png --height 560` makes a picture of the page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from plotly.subplots import make_subplots

from mlsys.report.charts.drawing import LIGHT

GRID = "#e8e8e8"


def main(record: Path, page: Path) -> None:
    """A colour for each shape; fused kernels are a whole line, torch's a dotted one."""
    found: dict[str, Any] = json.loads(record.read_text())
    shapes = list(dict.fromkeys(step["shape"] for step in found["steps"]))
    figure = make_subplots(cols=2, subplot_titles=("ms a step", "MBU: share of the memory's rate"))
    for shape, colour in zip(shapes, LIGHT, strict=False):
        for kernels, dash in (("fused", "solid"), ("torch", "dot")):
            own = [step for step in found["steps"] if (step["shape"], step["kernels"]) == (shape, kernels)]
            for place, name in ((1, "latency_ms"), (2, "mbu")):
                figure.add_scatter(
                    name=f"{shape}, {kernels}", x=[step["rows"] for step in own], y=[step[name] for step in own],
                    mode="lines+markers", line={"color": colour, "width": 2, "dash": dash}, marker={"size": 7},
                    showlegend=place == 1, row=1, col=place,
                )  # fmt: skip
    rows = sorted({step["rows"] for step in found["steps"]})
    figure.update_xaxes(title="rows", type="log", tickvals=rows, gridcolor=GRID)
    figure.update_yaxes(rangemode="tozero", gridcolor=GRID)
    figure.update_yaxes(tickformat=".0%", col=2)
    figure.update_layout(
        template="plotly_white", width=1180, height=540, font={"size": 14},
        title=f"A decoding step, {found['context']} tokens a row, bfloat16, one {found['device']}",
    )  # fmt: skip
    figure.write_html(page, include_plotlyjs=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
