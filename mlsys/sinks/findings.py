"""What records say in words: the main results first, and what a reader must know before believing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlsys.record import UNFINISHED, Record
from mlsys.sinks.rows import PUBLISHED_RUN, Row, Runs, finite, number, run_names
from mlsys.sinks.table import text

BUSY_SHARE = 0.5


def warnings(runs: Runs) -> list[str]:
    """One sentence for each thing that makes numbers doubtful or not comparable."""
    names = run_names([place for place, _ in runs])
    found: dict[str, list[str]] = {}
    for (_, record), name in zip(runs, names, strict=True):
        for sentence in _doubts(record):
            found.setdefault(sentence, []).append(name)
    said = [f"{sentence}: {_some(who)}" for sentence, who in found.items()]
    return said + _mixed([record for _, record in runs])


def _doubts(record: Record) -> list[str]:
    said = []
    if record.error == UNFINISHED:
        said.append("not finished (still running, or killed)")
    elif record.status != "ok":
        said.append(f"failed with {' '.join(str(record.error).split())[:200]}")
    if load := busy(record):
        said.append(load)
    if any(level.get("valid") is False for level in record.levels):
        said.append("the load generator was itself the limit at some load level (valid: no)")
    if finite(record.results.get("nan_count")) and record.results["nan_count"]:
        said.append("NaN in the input")
    said += _made_up(record)
    git = record.environment.get("git")
    if isinstance(git, Mapping) and git.get("dirty"):
        said.append("uncommitted changes in the code")
    return said


def busy(record: Record) -> str | None:
    """Whether the machine was at work before the run began, in words."""
    environment = record.environment
    load, hardware = environment.get("load_average"), environment.get("hardware")
    cores = hardware.get("cores") if isinstance(hardware, Mapping) else None
    by_load = (
        isinstance(load, Sequence)
        and load
        and finite(load[0])
        and finite(cores)
        and load[0] > BUSY_SHARE * cores
    )
    if environment.get("busy"):
        return "the machine was busy before the run"
    if by_load:
        return "the machine was busy before the run by its load average, in which a sweep's earlier runs count too"
    return None


def _made_up(record: Record) -> list[str]:
    said = []
    for key, value in record.results.items():
        words = str(value).lower()
        if isinstance(value, str) and ("simulated" in words or "random weights" in words):
            said.append(f"{key} is {value[:120]}")
    return list(dict.fromkeys(said))


def _mixed(records: Sequence[Record]) -> list[str]:
    """Runs on one page that differ in what usually should not differ."""
    said = []
    facts: dict[str, set[str]] = {"machines": set(), "git commits": set(), "torch versions": set()}
    for record in records:
        environment: Mapping[str, Any] = record.environment
        hardware, versions = environment.get("hardware") or {}, environment.get("versions") or {}
        facts["machines"].add(str([hardware.get("cpu"), hardware.get("cores"), hardware.get("gpu")]))
        facts["git commits"].add(str((environment.get("git") or {}).get("commit")))
        facts["torch versions"].add(str(versions.get("torch")))
    for name, values in facts.items():
        if len(values) > 1:
            said.append(f"the runs come from {len(values)} different {name}")
    return said


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def summary(workload: str, rows: Sequence[Row]) -> list[str]:
    """The main results of one workload, a sentence each."""
    rows = [row for row in rows if row["source"] != PUBLISHED_RUN]
    if workload == "serving":
        return _serving(rows)
    return _distance(rows) if workload == "distance" else _search(rows)


def _distance(rows: Sequence[Row]) -> list[str]:
    said = []
    by_metric: dict[str, Row] = {}
    for row in rows:
        metric = str(row.get("config.metric.name"))
        best = by_metric.get(metric)
        if finite(row.get("bandwidth_gbps")) and (not best or row["bandwidth_gbps"] > best["bandwidth_gbps"]):
            by_metric[metric] = row
    for metric, row in by_metric.items():
        share, limit = row.get("copy_share"), "this machine's copy bandwidth"
        if finite(bus := row.get("host_to_device_gbps")):  # the vectors come from the host
            share, limit = row["bandwidth_gbps"] / bus, "one page-locked copy to the GPU"
        of = f", {text(share, 'copy_share')} of {limit}" if finite(share) else ""
        where = f"n = {text(row.get('n'))} ({row.get('reduction')})"
        fastest = f"{metric}: {text(row['bandwidth_gbps'])} GB/s at {where}{of}"
        gains = [
            f"{key.partition('.')[2]} {text(row[key])}×"
            for key in row
            if key.startswith("speedup.") and finite(row[key])
        ]
        said.append(fastest + (f"; against {', '.join(gains)}" if gains else "") + ".")
    return said


def _search(rows: Sequence[Row]) -> list[str]:
    said = []
    best: dict[str, Row] = {}
    for row in rows:
        metric = str(row.get("config.metric.name"))
        if finite(row.get("queries_per_s")):
            best[metric] = max(row, best.get(metric, row), key=lambda one: float(one["queries_per_s"]))
    for metric, row in best.items():
        where = f"{text(row.get('queries'))} at once, {text(row.get('rows'))} rows of {text(row.get('dim'))}"
        said.append(
            f"{metric}: {text(row['queries_per_s'])} queries/s ({where}); recall {text(row.get('recall'))}."
        )
    return said


def _serving(rows: Sequence[Row]) -> list[str]:
    """Each other mode against the baseline at the highest load that both ran."""
    said = []
    by_mode: dict[str, dict[float, Row]] = {}
    for row in rows:
        if finite(row.get("load")) and finite(row.get("throughput_rps")):
            by_mode.setdefault(str(row.get("config.server.name")), {})[row["load"]] = row
    baseline = by_mode.get("baseline", {})
    for mode, levels in by_mode.items():
        shared = [load for load in levels if load in baseline]
        if mode == "baseline" or not shared:
            continue
        ours, theirs = levels[max(shared)], baseline[max(shared)]
        words = f"{mode} at {max(shared):g}: {text(ours['throughput_rps'])} req/s"
        if theirs["throughput_rps"]:
            words += f", {ours['throughput_rps'] / theirs['throughput_rps']:.2f}× the baseline"
        tails = number(ours.get("e2e_ms.p95")), number(theirs.get("e2e_ms.p95"))
        if finite(tails[0]) and finite(tails[1]) and tails[1]:
            words += f", with {tails[0] / tails[1]:.2f} of its p95"
        said.append(words + ".")
    return said
