"""The main results of records in words, the most important first. A ratio is only made of runs that may be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlsys.report import service_findings, theory_findings, verdict
from mlsys.report.names import Names
from mlsys.report.rows import PUBLISHED_RUN, Row, finite, is_number
from mlsys.report.table import text

BEYOND = "More than 100 % of a copy: reading alone is faster than reading and writing, or a cache held the vectors."
MOST = 8  # sentences; beyond that the best of each metric or server


def answers(workload: str, rows: Sequence[Row]) -> list[str]:
    """What a page opens with: the answer where settings were compared, then the main results."""
    own = [row for row in rows if row["source"] != PUBLISHED_RUN]
    first = verdict.summary(own) if workload == "serving" else []
    return first + summary(workload, rows)


def summary(workload: str, rows: Sequence[Row]) -> list[str]:
    """The main results of one workload, a sentence each."""
    rows = [row for row in rows if row["source"] != PUBLISHED_RUN]
    if workload == "serving":
        return service_findings.summary(rows, MOST) + theory_findings.summary(rows)
    if workload in ("pairs", "cdist"):
        return _many(rows)
    return _distance(rows) if workload == "distance" else _search(rows)


def _best(rows: Sequence[Row], figure: str) -> list[tuple[str, Row]]:
    """Each name's row with the most of `figure`; of many names the best of each metric, and how many it is of."""
    names = Names.of(rows)
    best: dict[str, Row] = {}
    for row in rows:
        if finite(row.get(figure)):
            name = names.full(row)
            best[name] = max(best.get(name, row), row, key=lambda one: float(one[figure]))
    if len(best) <= MOST:
        return list(best.items())
    metrics: dict[str, list[tuple[str, Row]]] = {}
    for name, row in best.items():
        metrics.setdefault(str(row.get("config.metric.name")), []).append((name, row))
    found = []
    for each in metrics.values():
        name, row = max(each, key=lambda pair: float(pair[1][figure]))
        found.append((f"{name}, the best of {len(each)}" if len(each) > 1 else name, row))
    return found


def _distance(rows: Sequence[Row]) -> list[str]:
    names = Names.of(rows)
    said = [
        f"{names.title(row) or names.full(row)}: the distance is nan, for the input holds nan."
        for row in rows
        if is_number(row.get("value")) and math.isnan(row["value"])
    ]
    beyond = False
    for name, row in _best(rows, "bandwidth_gbps"):
        share, limit = row.get("copy_share"), "this machine's copy bandwidth"
        if finite(bus := row.get("host_to_device_gbps")):  # the vectors come from the host
            share, limit = row["bandwidth_gbps"] / bus, "one page-locked copy to the GPU"
        of = f", {text(share, 'copy_share')} of {limit}" if finite(share) else ""
        beyond = beyond or (finite(share) and share > 1)
        where = f"n = {text(row.get('n'))} ({row.get('reduction')})"
        fastest = f"{name}: {text(row['bandwidth_gbps'])} GB/s at {where}{of}"
        gains = [
            f"{key.partition('.')[2]} {text(row[key])}×"
            for key in row
            if key.startswith("speedup.") and finite(row[key])
        ]
        said.append(fastest + (f"; against {', '.join(gains)}" if gains else "") + ".")
    return said + ([BEYOND] if beyond else [])


def _search(rows: Sequence[Row]) -> list[str]:
    said = []
    for name, row in _best(rows, "queries_per_s"):
        where = f"{text(row.get('queries'))} at once, {text(row.get('rows'))} rows of {text(row.get('dim'))}"
        said.append(
            f"{name}: {text(row['queries_per_s'])} queries/s ({where}); recall {text(row.get('recall'))}."
        )
    return said


def _many(rows: Sequence[Row]) -> list[str]:
    said = []
    for name, row in _best(rows, "pairs_per_s"):
        what = f"{text(row.get('rows'))} rows of {text(row.get('dim'))}"
        gains = [
            f"{key.partition('.')[2]} {text(row[key])}×"
            for key in row
            if key.startswith("speedup.") and finite(row[key])
        ]
        against = f"; against {', '.join(gains)}" if gains else ""
        error = text(row.get("relative_error"))
        said.append(f"{name}: {text(row['pairs_per_s'])} pairs/s ({what}), relative error {error}{against}.")
    return said
