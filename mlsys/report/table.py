"""The comparison as a table: rounded for people in `table.md` and on the console, in full in `table.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsys.files import replace
from mlsys.report import terminal
from mlsys.report.names import Names, by_workload
from mlsys.report.rows import COURSE, Row, Runs, finite, is_number, label, rows, varying

# The figures worth a person's eye, the most important first: where room is short the last go first.
RESULTS = {
    "distance": "latency_ms bandwidth_gbps copy_share speedup.* relative_error reduction wall_ms latency_hot_ms "
    "latency_ms_p25 latency_ms_p75",
    "search": "latency_ms queries_per_s recall speedup.* bound_share latency_ms_p25 latency_ms_p75",
    "pairs": "latency_ms bandwidth_gbps copy_share speedup.* backward_speedup.* step_speedup.* relative_error wall_ms "
    "latency_ms_p25 latency_ms_p75",
    "cdist": "latency_ms speedup.* wall_speedup.* relative_error baseline.torch_cdist.relative_error wall_ms "
    "pairs_per_s latency_ms_p25 latency_ms_p75",
    "serving": "throughput_rps e2e_ms.p50 e2e_ms.p95 ttft_ms.p50 tpot_ms.p50 e2e_ms.p99 success_rate goodput valid "
    "rejected timed_out failed fault.lost fault.refused fault.noticed_s fault.whole_s fault.worst_second_rps "
    "ttft_ms.p95 output_tokens_per_s batch_size.mean decode.mbu decode.mfu decode.bound prefix.hit_rate preemptions "
    "retrieval_hit_rate theory.model theory.mean_ms theory.own_ms theory.expected.mean_ms theory.measured.mean_ms "
    "theory.deviation.mean theory.deviation.p95 theory.deviation.p99",
}
PLACES = {
    "distance": ["config.n"],
    "search": ["config.search.queries"],
    "pairs": ["config.pairs.rows", "config.pairs.dim"],
    "cdist": ["config.cdist.queries", "config.cdist.rows", "config.cdist.dim"],
    "serving": ["concurrency", "offered_rate_rps"],
}
HEADS_SHARE = 0.5  # of a terminal's width; where the columns that name a run take more they become one
SHARES = {
    "copy_share",
    "success_rate",
    "goodput",
    "bound_share",
    "prefix.hit_rate",
    "kv_usage.mean",
    "decode.mbu",
    "decode.mfu",
}
SPEAK_WHEN = {
    "status": "ok",
    "valid": True,
    "rejected": 0,
    "timed_out": 0,
    "failed": 0,
    "preemptions": 0,
}  # else not worth a column


@dataclass(frozen=True)
class Columns:
    """A table's columns: `heads` say which run a row is, `rest` what came out, in the order of their worth."""

    heads: list[str]
    rest: list[str]

    @property
    def all(self) -> list[str]:
        """Every column from left to right."""
        return self.heads + self.rest


def columns(table: Sequence[Row], workload: str) -> Columns:
    """What names the runs, the main results, whatever else differs, and the run's directory.

    A column that says the same good thing of every row (`status` ok, `valid` yes) is left out.
    """
    present = {key for row in table for key in row if row[key] is not None}
    order = [key for key in dict.fromkeys(key for row in table for key in row) if key in present]
    names = Names.of(table)
    lead = [names.lead] if names.lead in present and names.lead not in names.keys else []
    heads = [*lead, *names.keys, *(key for key in PLACES.get(workload, []) if key in present)]
    main: list[str] = []
    for name in RESULTS.get(workload, "").split():
        main += [key for key in order if key.startswith(name[:-1])] if name.endswith("*") else [name]
    main = ["error", "status", *main] if _worth(table, "status") else main
    others = [key for key in varying(table) if key not in heads]
    rest = [key for key in dict.fromkeys([*main, *others, "run"]) if key in present and key not in heads]
    rest = [key for key in rest if key not in SPEAK_WHEN or _worth(table, key)]
    if "repeat" in present:
        heads.append("repeat")
    return Columns(heads or ["run"], rest if heads else [key for key in rest if key != "run"])


def _worth(table: Sequence[Row], key: str) -> bool:
    return any(row.get(key, SPEAK_WHEN[key]) not in (SPEAK_WHEN[key], None) for row in table)


def text(value: Any, column: str = "") -> str:
    """A value as a person reads it: four digits, shares in percent, nothing for what is not there."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not is_number(value):
        return str(value)
    if not finite(value):
        return str(value)
    if column.startswith("theory.deviation."):
        return f"{100 * value:+.2f} %"
    if column in SHARES or column.startswith("goodput."):
        return f"{100 * value:.1f} %"
    size = abs(value)
    if size == 0:
        return "0"
    if 1000 <= size < 1e7 or (float(value).is_integer() and size < 1000):
        return f"{value:,.0f}"
    return _short(f"{value:.4g}" if 1e-3 <= size < 1e7 else f"{value:.3g}")


def _short(number: str) -> str:
    """`1e+08` is `1e8`, `3.1e-09` is `3.1e-9`."""
    return number.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def write(directory: Path, runs: Runs) -> tuple[Path, Path]:
    """Write `table.md` and `table.csv` into `directory`, each in one step. Returns their paths."""
    parts = [markdown(table, workload) for workload, table in by_workload(runs).items()]
    return (
        replace(directory / "table.md", "\n".join(parts) or "no runs\n"),
        replace(directory / "table.csv", in_full(rows(runs))),
    )


def in_full(table: Sequence[Row]) -> str:
    """The rows as CSV, every figure with all its digits. Without pandas, whose import takes a third of a second."""
    names = dict.fromkeys(name for row in table for name in row)
    stream = io.StringIO()
    file = csv.DictWriter(
        stream,
        [name for name in names if name not in ("record", COURSE)],
        extrasaction="ignore",
        lineterminator="\n",
    )
    file.writeheader()
    file.writerows(table)
    return stream.getvalue()


def markdown(table: Sequence[Row], workload: str) -> str:
    """One workload's rows as a Markdown table under a heading."""
    names = columns(table, workload).all
    lines = [f"## {workload}", "", "| " + " | ".join(label(name) for name in names) + " |"]
    lines.append("|" + "|".join("---:" if numeric(table, name) else "---" for name in names) + "|")
    for row in table:
        lines.append("| " + " | ".join(_cell(text(row.get(name), name)) for name in names) + " |")
    return "\n".join(lines) + "\n"


def numeric(table: Sequence[Row], name: str) -> bool:
    """Whether a column holds numbers and nothing else."""
    values = [row[name] for row in table if row.get(name) is not None]
    return bool(values) and all(is_number(value) for value in values)


def _cell(value: str) -> str:
    return " ".join(value.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def console(runs: Runs, width: int | None = None) -> str:
    """The tables as one text: fitted to a terminal (or `COLUMNS`), else plain aligned columns with everything."""
    parts = [
        _console(table, workload, width or terminal.width()) for workload, table in by_workload(runs).items()
    ]
    return "\n\n".join(parts)


def _console(table: Sequence[Row], workload: str, room: int | None) -> str:
    found = columns(table, workload)
    names = Names.of(table)
    drawn = [
        terminal.Column(
            label(name),
            [" ".join(text(row.get(name), name).split()) for row in table],
            numeric=numeric(table, name),
            kept=name in found.heads,
        )
        for name in found.all
    ]
    naming = (names.lead, *names.keys, "repeat")
    named = [column for name, column in zip(found.all, drawn, strict=True) if name in naming]
    if room is not None and len(named) > 1 and terminal.least(named) > HEADS_SHARE * room:
        words = [names.full(row) + (f" ({row['repeat']})" if "repeat" in row else "") for row in table]
        one = terminal.Column("run", words, kept=True)
        drawn = [one, *(column for column in drawn if column not in named)]
    bad = [row["status"] != "ok" or row.get("valid") is False for row in table]
    return terminal.draw(workload, drawn, room, bad, "table.csv has them")
