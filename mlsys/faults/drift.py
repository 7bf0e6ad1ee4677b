"""Whether the end of a level is like its beginning: latencies, memory, files, threads. Pure.

The beginning are the first ten minutes of a level, or its first third where it is shorter than half an hour; the end is
as long. A level of less than `LEAST_S` says nothing of that kind.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlsys.faults.conductor import Course
from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import OK
from mlsys.record import Scalar

WINDOW_S, SHARE, LEAST_S = 600.0, 1 / 3, 15.0
HELD = ("memory_mib", "files", "threads", "sockets", "processes")


def describe(table: pd.DataFrame, course: Course, zero_at: float) -> dict[str, Scalar]:
    """`drift.<name>`: the end over the beginning, less 1; 0 is no drift. Of latencies and of what is held."""
    measured = table[(table["phase"] == MEASURED) & (table["outcome"] == OK)]
    due = (measured["started_at"] + measured["intended_s"] - zero_at).to_numpy(np.float64)
    end_s = float(due.max()) if len(due) else 0.0
    if end_s < LEAST_S:
        return {}
    width_s = min(WINDOW_S, end_s * SHARE)
    latency = measured["e2e_ms"].to_numpy(np.float64)
    first, last = latency[due < width_s], latency[due >= end_s - width_s]
    values: dict[str, Scalar] = {}
    if len(first) and len(last):
        for part in (50, 99):
            values[f"drift.e2e_ms.p{part}"] = _beyond(np.percentile(first, part), np.percentile(last, part))
    at = np.array([moment - zero_at for moment, _ in course.holds])
    for name in HELD if len(at) else ():
        held = np.array([getattr(one, name) for _, one in course.holds], np.float64)
        early, late = held[(at >= 0) & (at < width_s)], held[(at >= end_s - width_s) & (at < end_s)]
        if len(early) and len(late):
            values[f"drift.{name}"] = _beyond(np.median(early), np.median(late))
    return values


def _beyond(first: float, last: float) -> float | None:
    return float(last / first - 1) if first > 0 else None if last > 0 else 0.0


def course(course: Course, zero_at: float) -> dict[str, list[float]]:
    """`timeline.held_s`, `timeline.memory_mib`, `timeline.files`, `timeline.threads`: what was held when."""
    if not course.holds:
        return {}
    found = {f"timeline.{name}": [float(getattr(one, name)) for _, one in course.holds] for name in HELD[:3]}
    return found | {"timeline.held_s": [at - zero_at for at, _ in course.holds]}
