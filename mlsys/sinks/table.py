"""The comparison as a table: rounded for people in `table.md` and on the console, in full in `table.csv`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from mlsys.sinks.files import replace
from mlsys.sinks.rows import Row, Runs, finite, is_number, label, varying
from mlsys.sinks.rows import rows as flat_rows

RESULTS = {
    "distance": "reduction latency_ms latency_ms_p25 latency_ms_p75 latency_hot_ms wall_ms bandwidth_gbps "
    "copy_share relative_error speedup.*",
    "search": "latency_ms latency_ms_p25 latency_ms_p75 queries_per_s recall bound_share speedup.*",
    "serving": "concurrency offered_rate_rps throughput_rps success_rate goodput "
    "e2e_ms.p50 e2e_ms.p95 e2e_ms.p99 "
    "ttft_ms.p50 output_tokens_per_s batch_size.mean rejected valid retrieval_hit_rate",
}
LEAST = {
    "distance": ["config.metric.name", "config.n"],
    "search": ["config.metric.name", "config.search.queries"],
    "serving": ["config.server.name"],
}


def rows(runs: Runs) -> pd.DataFrame:
    """Every run (serving: every load level) as one row with all that is known of it."""
    return pd.DataFrame(flat_rows(runs))


def columns(table: Sequence[Row], workload: str) -> list[str]:
    """The columns worth a person's eye: what differs, the main results, the status, errors."""
    present = dict.fromkeys(key for row in table for key in row if row[key] is not None)
    different = varying(table)
    chosen = [key for key in LEAST.get(workload, []) if key in present and key not in different] + different
    for name in RESULTS.get(workload, "").split():
        if name.endswith("*"):
            chosen += [key for key in present if key.startswith(name[:-1])]
        elif name in present:
            chosen.append(name)
    if (
        "reduction" in chosen
        and "config.reduction.name" in chosen
        and _same(table, "reduction", "config.reduction.name")
    ):
        chosen.remove("config.reduction.name")
    return ["run", *chosen, "status", *(["error"] if "error" in present else [])]


def _same(table: Sequence[Row], left: str, right: str) -> bool:
    return all(row.get(left) == row.get(right) for row in table)


def text(value: Any, column: str = "") -> str:
    """A value as a person reads it: four digits, shares in percent, nothing for what is not there."""
    if value is None or value is pd.NA:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not is_number(value):
        return _ends(str(value)) if column == "run" else str(value)
    if not finite(value):
        return str(value)
    if column in {"copy_share", "success_rate", "goodput", "bound_share"}:
        return f"{100 * value:.1f} %"
    size = abs(value)
    if size == 0:
        return "0"
    if 1000 <= size < 1e7 or (float(value).is_integer() and size < 1000):
        return f"{value:,.0f}"
    return _short(f"{value:.4g}" if 1e-3 <= size < 1e7 else f"{value:.3g}")


def _ends(name: str) -> str:
    """A long name by its two ends, which tell directories apart."""
    return name if len(name) <= 44 else f"{name[:22]}…{name[-21:]}"


def _short(number: str) -> str:
    """`1e+08` is `1e8`, `3.1e-09` is `3.1e-9`."""
    return number.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def by_workload(runs: Runs, published: Sequence[Row] = ()) -> dict[str, list[Row]]:
    """The rows under their workloads, in the order distance, search, serving, whatever else."""
    found: dict[str, list[Row]] = {name: [] for name in RESULTS}
    for row in (*flat_rows(runs), *published):
        found.setdefault(row["workload"], []).append(row)
    return {name: table for name, table in found.items() if table}


def write(directory: Path, runs: Runs) -> tuple[Path, Path]:
    """Write `table.md` and `table.csv` into `directory`, each in one step. Returns their paths."""
    parts = [markdown(table, workload) for workload, table in by_workload(runs).items()]
    everything = rows(runs).drop(columns=["record"], errors="ignore")
    stream = io.StringIO()
    everything.to_csv(stream, index=False)
    return (
        replace(directory / "table.md", "\n".join(parts) or "no runs\n"),
        replace(directory / "table.csv", stream.getvalue()),
    )


def markdown(table: Sequence[Row], workload: str) -> str:
    """One workload's rows as a Markdown table under a heading."""
    names = columns(table, workload)
    lines = [f"## {workload}", "", "| " + " | ".join(label(name) for name in names) + " |"]
    lines.append("|" + "|".join("---:" if _numeric(table, name) else "---" for name in names) + "|")
    for row in table:
        lines.append("| " + " | ".join(_cell(text(row.get(name), name)) for name in names) + " |")
    return "\n".join(lines) + "\n"


def _numeric(table: Sequence[Row], name: str) -> bool:
    values = [row[name] for row in table if row.get(name) is not None]
    return bool(values) and all(is_number(value) for value in values)


def _cell(value: str) -> str:
    return " ".join(value.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def console(runs: Runs, width: int | None = None) -> str:
    """The tables as one text for the console: drawn on a terminal, tab-less aligned columns when piped."""
    stream = io.StringIO()
    terminal = Console().is_terminal
    out = Console(
        file=stream, width=width or (None if terminal else 4000), force_terminal=terminal, highlight=False
    )
    for workload, table in by_workload(runs).items():
        out.print(_rich(table, workload, terminal))
    return stream.getvalue().rstrip("\n")


def _rich(table: Sequence[Row], workload: str, terminal: bool) -> Table:
    drawn = Table(
        title=workload, title_justify="left", title_style="bold" if terminal else "", box=None, pad_edge=False
    )
    names = columns(table, workload)
    for name in names:
        drawn.add_column(
            _plain(label(name)), justify="right" if _numeric(table, name) else "left", overflow="fold"
        )
    for row in table:
        style = "red" if row["status"] != "ok" and terminal else ""
        drawn.add_row(*(_plain(" ".join(text(row.get(name), name).split())) for name in names), style=style)
    return drawn


def _plain(value: str) -> Any:
    from rich.text import Text

    return Text(value)
