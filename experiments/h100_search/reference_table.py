"""The reference table and its picture: `python experiments/h100_search/reference_table.py RECORDS [PAGE.html]`.

Prints the table of the records below RECORDS that reference.py wrote. With PAGE.html it draws the same ratios, and
`docs/pictures/shoot.py PAGE.html PICTURE.png --width 1200 --height 860` makes a picture of that page.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from mlsys import record
from mlsys.report.charts.drawing import LIGHT

PEERS = {
    "torch_matmul_topk": "torch matmul + topk", "flashlib": "FlashLib", "jax": "JAX", "cuvs": "cuVS", "faiss": "faiss",
}  # fmt: skip
COLUMNS = ("rows", "Q", "k", "ours, ms", *PEERS.values(), "bound by")
ALL_FOUND = 0.9995  # a recall that prints as 1
Values = dict[str, Any]


def measured(directory: Path) -> list[Values]:
    """The results of each run, by their sizes."""
    found = [entry.results for _, entry in record.find([directory]) if entry.status == "ok"]
    return sorted(found, key=lambda v: tuple(v[name] for name in ("rows", "dim", "storage", "queries", "k")))


def called(values: Values) -> str:
    """What is searched, such as `1e6 × 384 float16`."""
    rows = f"{values['rows']:.0e}".replace("e+0", "e")
    return f"{rows} × {values['dim']} {values['storage']}"


def cell(values: Values, peer: str) -> str:
    """A peer's time in ms, how many times ours it is, and its recall where it missed neighbours."""
    if (wall := values.get(f"baseline.{peer}.wall_ms")) is None:
        return "–"
    ratio, recall = values[f"wall_speedup.{peer}"], values[f"baseline.{peer}.recall"]
    times = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
    missed = f" (recall {recall:.3f})" if recall < ALL_FOUND else ""
    return f"{wall:.3g}: {f'**{times}**' if ratio < 1 else times}{missed}"


def line(values: Values) -> list[str]:
    """The cells of one row."""
    bound = f"{values['bound']}, {values['bound_share']:.2f}"
    cells = [cell(values, peer) for peer in PEERS]
    return [
        called(values), str(values["queries"]), str(values["k"]), f"{values['wall_ms']:.3g}", *cells, bound
    ]  # fmt: skip


def drawn(found: list[Values], page: Path) -> None:
    """A line for each shape, a mark for each peer: how many times as long as ours it takes."""
    names = [f"{called(v)}, Q = {v['queries']}, k = {v['k']}" for v in found]
    figure = go.Figure()
    for (peer, name), colour in zip(PEERS.items(), LIGHT, strict=False):
        own = [
            (v[f"wall_speedup.{peer}"], label, v[f"baseline.{peer}.recall"])
            for v, label in zip(found, names, strict=True)
            if f"wall_speedup.{peer}" in v
        ]
        if not own:
            continue
        ratios, labels, recalls = zip(*own, strict=True)
        shapes = ["circle" if recall >= ALL_FOUND else "circle-open" for recall in recalls]
        figure.add_scatter(
            name=name, x=ratios, y=labels, mode="markers",
            marker={"color": colour, "size": 11, "symbol": shapes, "line": {"width": 1.5}},
        )  # fmt: skip
    figure.add_vline(x=1, line={"color": "#808080", "dash": "dash"})
    figure.update_xaxes(
        title="times as long as ours, as a caller waits (log). Open: it missed neighbours", type="log",
        tickvals=[0.5, 1, 2, 5, 10, 20, 50, 100, 200], gridcolor="#e8e8e8",
    )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], gridcolor="#e8e8e8")
    device = found[0]["device_name"]
    figure.update_layout(
        template="plotly_white", width=1180, height=840, font={"size": 14},
        title=f"Exact k nearest neighbours (l2) beside other libraries, one {device}",
    )  # fmt: skip
    figure.write_html(page, include_plotlyjs=True)


def main(directory: Path, page: Path | None) -> None:
    found = measured(directory)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for values in found:
        print("| " + " | ".join(line(values)) + " |")
    if page is not None:
        drawn(found, page)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
