"""Records as flat rows, one a run or, of a serving run, one a load level: what tables and plots show."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from mlsys.record import Record, knobs

Runs = Sequence[tuple[Path, Record]]
Row = dict[str, Any]

CONFIG = "config."
WORKLOADS = ("distance", "search", "pairs", "cdist", "serving")
HARDWARE = ("cpu", "cores", "gpu", "memory_gib")
PUBLISHED_RUN, MEASURED = "published", "measured"
COURSE = "timeline"  # no figure: a level's medians by time, which are only drawn


def rows(runs: Runs) -> list[Row]:
    """One row a run or load level.

    Keys: `run` (the directory's name), `record` (index into `runs`), `level` (index or None), `workload`, `status`,
    `error`, `started_at`, `source` (measured or published), `config.<dotted key>`, and the result and level names as
    the record has them. Added: `copy_share` (bandwidth over this machine's copy bandwidth), `machine` (GPU or CPU
    model), `load` (concurrency or offered rate), `timeline` (lists by name),
    `engine_ceiling_rps` (the bare engine at a level's batch size).
    """
    names = run_names([directory for directory, _ in runs])
    return [row for index, (_, record) in enumerate(runs) for row in _rows_of(index, names[index], record)]


def _rows_of(index: int, name: str, record: Record) -> list[Row]:
    base: Row = {
        "run": name,
        "record": index,
        "level": None,
        "workload": record.workload,
        "status": record.status,
    }
    base |= {"error": record.error, "started_at": record.started_at}
    base |= {CONFIG + key: value for key, value in settings(record).items()}
    if record.workload == "distance" and "n" in record.config:
        base.setdefault(CONFIG + "ranks", 1)
    base |= {key: number(value) for key, value in record.results.items()}
    base |= {"machine": machine(record), "hardware": hardware(record), "source": MEASURED}
    if is_number(base.get("value")) and math.isnan(base["value"]):
        base["relative_error"] = math.nan  # nan against nan is no exact answer
    if not record.levels:
        return [derived(base)]
    return [
        derived(
            base | {"level": i} | {key: number(value) for key, value in level.items()} | _course(record, i)
        )
        for i, level in enumerate(record.levels)
    ]


def _course(record: Record, level: int) -> Row:
    prefix = f"levels.{level}.{COURSE}."
    found = {
        key.removeprefix(prefix): values for key, values in record.samples.items() if key.startswith(prefix)
    }
    return {COURSE: found} if found else {}


def derived(row: Row) -> Row:
    """The row with what follows from its figures."""
    bandwidth, copy = row.get("bandwidth_gbps"), row.get("copy_bandwidth_gbps")
    if is_number(bandwidth) and is_number(copy) and copy > 0:
        row.setdefault("copy_share", bandwidth / copy)
    if row["workload"] == "serving":
        row["load"] = row.get("concurrency", row.get("offered_rate_rps"))
        row["engine_ceiling_rps"] = row.get(f"engine.batch_{row.get('engine_batch')}.throughput_rps")
    return row


def settings(record: Record) -> dict[str, Any]:
    """The flat configuration without the groups that this record's workload does not use."""
    flat = flatten(record.config)
    if flat.get("data.name") == "file" and is_number(record.results.get("n")):
        flat["n"] = record.results["n"]  # the file's own, whatever `size` said
    if flat.get("pairs.elements") is not None:
        flat["pairs.rows"] = record.results.get("rows")  # as many as the elements are, whatever `rows` said
    return {key: value for key, value in flat.items() if knobs.is_used(key, record.workload)}


def machine(record: Record) -> str | None:
    """The model of the GPU, or of the CPU where that computed, as the environment names it."""
    hardware = record.environment.get("hardware")
    if not isinstance(hardware, Mapping):
        return None
    on_gpu = str(record.results.get("device", "")).startswith("cuda") and hardware.get("gpu")
    return str(hardware["gpu"] if on_gpu else hardware.get("cpu"))


def hardware(record: Record) -> str:
    """What two runs must share to be compared: processor, cores, GPU and memory as one text."""
    found = record.environment.get("hardware")
    found = found if isinstance(found, Mapping) else {}
    return ", ".join(str(found.get(key)) for key in HARDWARE)


def run_names(directories: Sequence[Path]) -> list[str]:
    """The shortest path endings that tell the directories apart (`2026-11-24/0`, `2026-11-24/1`)."""
    parts = [directory.resolve().parts for directory in directories]
    common = 0
    while parts and all(len(p) > common + 1 and p[common] == parts[0][common] for p in parts):
        common += 1
    return ["/".join(p[common:]) or str(d) for p, d in zip(parts, directories, strict=True)]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config as dotted keys to scalars; a list becomes one text. `_target_` is left out."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key == "_target_":
            continue
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            flat[prefix + key] = json.dumps(value) if _nested(value) else ", ".join(str(v) for v in value)
        else:
            flat[prefix + key] = number(value)
    return flat


def _nested(items: Iterable[Any]) -> bool:
    return any(isinstance(item, (Mapping, list, tuple)) for item in items)


def varying(table: Sequence[Row]) -> list[str]:
    """The `config.` keys that differ between the rows, without those that a `name` beside them explains."""
    table = each_record(table)
    keys = list(dict.fromkeys(key for row in table for key in row if key.startswith(CONFIG)))
    keys = [key for key in keys if not _silent(key) and _differs(table, key)]
    if any(row["workload"] == "serving" for row in table):
        keys = [
            key for key in keys if key not in {"config.loadtest.concurrency", "config.loadtest.request_rate"}
        ]
    return [key for key in keys if not _explained(table, key, keys)]


def _silent(key: str) -> bool:
    return knobs.meaning(key.removeprefix(CONFIG)) is knobs.Meaning.SILENT


def each_record(table: Sequence[Row]) -> list[Row]:
    """The first row of each record, and every row of no record (others' published figures)."""
    first = {row.get("record"): row for row in reversed(table) if row.get("record") is not None}
    return [row for row in table if row.get("record") is None or first[row["record"]] is row]


def several(table: Sequence[Row], key: str) -> bool:
    """Whether the rows that have the key differ in it."""
    return len({str(row[key]) for row in table if row.get(key) is not None}) > 1


def _differs(table: Sequence[Row], key: str) -> bool:
    return len({str(row[key]) for row in table if key in row}) > 1


def _explained(table: Sequence[Row], key: str, keys: Sequence[str]) -> bool:
    group = key.rpartition(".")[0]
    while group.count("."):
        name = f"{group}.name"
        if name in keys and name != key and _function_of(table, key, name):
            return True
        group = group.rpartition(".")[0]
    return False


def _function_of(table: Sequence[Row], key: str, name: str) -> bool:
    seen: dict[str, str] = {}
    return all(seen.setdefault(str(row.get(name)), str(row.get(key))) == str(row.get(key)) for row in table)


def label(key: str) -> str:
    """A column's heading: `metric` for `config.metric.name`, `n` for `config.n`."""
    return key.removeprefix(CONFIG).removesuffix(".name")


def is_number(value: Any) -> TypeGuard[float]:
    """Whether the value is an int or float (not a bool), nan and infinity included."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number(value: Any) -> Any:
    """A record writes nan and infinity as text: read them back as numbers, leave the rest."""
    return float(value) if value in ("nan", "inf", "-inf") else value


def finite(value: Any) -> TypeGuard[float]:
    """Whether the value is a finite number."""
    return is_number(value) and math.isfinite(value)
