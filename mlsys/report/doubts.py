"""What a reader must know before believing records: one fact, one warning, with the names of the runs it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlsys.record import UNFINISHED, Record
from mlsys.report import slow_replicas
from mlsys.report.names import by_workload, titles
from mlsys.report.rows import Row, Runs, finite

BUSY_SHARE = 0.5
NAMED = 4
MADE_UP = ("simulated", "random weights")


def warnings(runs: Runs, sections: dict[str, list[Row]] | None = None) -> list[str]:
    """One sentence for each thing that makes numbers doubtful or not comparable."""
    names = titles(by_workload(runs) if sections is None else sections)
    found: dict[str, list[str]] = {}
    for index, (_, record) in enumerate(runs):
        for sentence in _doubts(record):
            found.setdefault(sentence, []).append(names[index])
    said = [sentence + _who(who, len(runs)) for sentence, who in found.items()]
    return said + _mixed([record for _, record in runs])


def _who(names: Sequence[str], runs: int) -> str:
    if len(names) == runs:
        return "" if runs == 1 else f": all {runs} runs"
    return f": {some(names)}"


def some(names: Sequence[str]) -> str:
    """The first names and how many more there are."""
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


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
    if any(level.get("steady.reached") is False for level in record.levels):
        said.append(
            "latency kept rising or falling at some load level, so its figures depend on how long it ran"
        )
    if finite(record.results.get("nan_count")) and record.results["nan_count"]:
        said.append("NaN in the input")
    said += slow_replicas.warnings(record.levels)
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
    """One sentence a part that is not real, from the longest text that says so (`….name`, `….model`, `….note`)."""
    parts: dict[str, str] = {}
    for key, value in record.results.items():
        if isinstance(value, str) and any(word in value.lower() for word in MADE_UP):
            part = key.rpartition(".")[0].removeprefix("pipeline.") or key
            parts[part] = max(parts.get(part, ""), value[:120], key=len)
    return [f"the {part.replace('.', ' ')} is {value}" for part, value in parts.items()]


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
