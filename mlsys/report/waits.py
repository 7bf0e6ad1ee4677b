"""What requests wait under two modes, in words that are fair to both: who refuses, and who does not stream, is said."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from mlsys.report.doubts import some
from mlsys.report.rows import Row, finite
from mlsys.report.table import text

ALIKE = 0.01  # success rates that differ by less are not worth a word


def less(ours: Sequence[Row], theirs: Sequence[Row]) -> str:
    """What a request waits, as shares of what it waits at the baseline."""
    said = []
    for figure, word in (("e2e_ms.p95", "p95"), ("ttft_ms.p50", "time to first token")):
        mine, its = (middle(side, figure) for side in (ours, theirs))
        if mine is not None and its:
            said.append(f"{mine / its:.2f} of its {word}")
    return f", with {' and '.join(said)}" if said else ""


def fewer(ours: Sequence[Row], theirs: Sequence[Row]) -> str:
    """Who answers few is soon done: latencies of answers say nothing of requests that had none."""
    mine, its = (middle(side, "success_rate") for side in (ours, theirs))
    if mine is None or its is None or abs(mine - its) < ALIKE:
        return ""
    return f"; answered are {text(mine, 'success_rate')} of requests, there {text(its, 'success_rate')}"


def whole(runs: Mapping[str, Mapping[float, Sequence[Row]]]) -> list[str]:
    """Which of the streamed runs gave no text before the end of its answer."""
    names = []
    for name, levels in runs.items():
        told = [row["ttft_is_e2e"] for rows in levels.values() for row in rows if "ttft_is_e2e" in row]
        if told and all(told):
            names.append(name)
    if not names:
        return []
    who, verb = some(names), "do" if len(names) > 1 else "does"
    return [
        f"{who} {verb} not stream: the first token comes with the last, so time to first token is the latency."
    ]


def middle(rows: Sequence[Row], key: str) -> float | None:
    """The median of a figure; None where no row has it."""
    values = [float(row[key]) for row in rows if finite(row.get(key))]
    return statistics.median(values) if values else None
