"""The repeats behind a figure: from the record, or for a level with too few from its requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mlsys.compare.noise import Run, Statistic
from mlsys.record import Record, Scalar
from mlsys.report.rows import finite

DEFAULTS = {
    "distance": ["latency_ms"],
    "search": ["latency_ms"],
    "serving": ["throughput_rps", "e2e_ms.p95", "ttft_ms.p50"],
}
UP = (
    "throughput",
    "bandwidth",
    "goodput",
    "success_rate",
    "speedup",
    "recall",
    "hit_rate",
    "copy_share",
    "_per_s",
    "_rps",
)
ENOUGH = 5
OF_REQUESTS = ("e2e_ms", "ttft_ms", "tpot_ms")
REQUESTS = "requests.parquet"
CONTROLS = ("baseline.", "copy_bandwidth_gbps", "host_to_device_gbps", "engine.batch_")


def higher_is_better(metric: str) -> bool:
    """Whether more of it is better, by its name."""
    return any(word in metric for word in UP)


def loads(record: Record) -> list[float | None]:
    """The loads of a serving record's levels; [None] for a record without levels."""
    if not record.levels:
        return [None]
    return [_load(level) for level in record.levels]


def _load(level: dict[str, Scalar]) -> float | None:
    value = level.get("concurrency", level.get("offered_rate_rps"))
    return float(value) if finite(value) else None


def value(record: Record, metric: str, load: float | None) -> float | None:
    """The figure as the record states it; None where it is not there or no number."""
    holder = record.results if load is None else record.levels[loads(record).index(load)]
    found = holder.get(metric)
    return float(found) if finite(found) else None


def run(place: Path, record: Record, metric: str, load: float | None) -> Run | None:
    """The repeats of `metric` in one run; None where the record and its requests hold none."""
    prefix = "" if load is None else f"levels.{loads(record).index(load)}."
    samples = [v for v in record.samples.get(prefix + metric, []) if finite(v) and v > 0]
    if (
        load is not None
        and len(samples) < ENOUGH
        and (from_requests := _requests(place, record, metric, load))
    ):
        return from_requests
    if samples:
        return Run(samples, "median")
    stated = value(record, metric, load)
    return Run([stated], "median") if stated is not None and stated > 0 else None


def _requests(place: Path, record: Record, metric: str, load: float) -> Run | None:
    if not (place / REQUESTS).is_file():
        return None
    table = _table(place / REQUESTS)
    index = loads(record).index(load)
    good = table[(table["level"] == index) & (table["outcome"] == "ok") & (table["phase"] == "measured")]
    if len(good) < 2 * ENOUGH:
        return None
    batch = record.levels[index].get("batch_size.max")
    block = int(batch) if finite(batch) else 1
    if metric == "throughput_rps":
        gaps = _gaps(good)
        return Run(gaps, "rate", block) if len(gaps) > 1 else None
    statistic = _statistic(metric)
    if statistic is None:
        return None
    column = good.sort_values(["repeat", "done_s"]).get(metric.rpartition(".")[0])
    ordered = [] if column is None else [float(v) for v in column if v > 0]
    return Run(ordered, statistic, block) if len(ordered) >= 2 * ENOUGH else None


def _table(path: Path) -> pd.DataFrame:
    """The columns that are asked about; older files have fewer, and each gap of each stream is not wanted."""
    from pyarrow.parquet import read_schema

    wanted = {"level", "repeat", "phase", "outcome", "done_s", *OF_REQUESTS}
    return pd.read_parquet(path, columns=[name for name in read_schema(path).names if name in wanted])


def _gaps(good: pd.DataFrame) -> list[float]:
    """Times between one answer and the next, in s, repeat after repeat."""
    gaps: list[float] = []
    for _, rows in good.groupby("repeat"):
        gaps += [float(gap) for gap in np.diff(np.sort(rows["done_s"].to_numpy(dtype=np.float64)))]
    return gaps


def _statistic(metric: str) -> Statistic | None:
    known: dict[str, Statistic] = {"mean": "mean", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
    name, _, part = metric.rpartition(".")
    return known.get(part) if name in OF_REQUESTS else None


def rounds(place: Path, record: Record, metric: str, load: float | None) -> list[Run] | None:
    """The repeats round by round where the run was measured in turn with others; None where it was not."""
    how = record.config.get("compare") or {}
    asked = how.get("rounds")
    count = int(asked) if finite(asked) else 0
    whole = run(place, record, metric, load)
    if not how.get("interleave") or whole is None or count < 2 or len(whole.samples) % count:
        return None
    size = len(whole.samples) // count
    if whole.statistic != "median":
        return None
    return [Run(whole.samples[i * size : (i + 1) * size], whole.statistic) for i in range(count)]


def controls(a: Sequence[Record], b: Sequence[Record]) -> list[float]:
    """Log ratios B/A of what is the same code in both: baselines, the copy, the bare engine.

    None where versions or hardware differ, for then a baseline may differ too.
    """
    same = {str([made.environment.get("versions"), made.environment.get("hardware")]) for made in (*a, *b)}
    if len(same) > 1:
        return []
    found = []
    for name in a[0].results:
        if name.startswith(CONTROLS) and name.endswith(("latency_ms", "_gbps", "throughput_rps")):
            sides = [
                [float(v) for record in side if finite(v := record.results.get(name)) and v > 0]
                for side in (a, b)
            ]
            if all(sides):
                found.append(float(np.log(np.median(sides[1])) - np.log(np.median(sides[0]))))
    return found
