"""What a level's requests say of the faults that they met. Pure: rows and a course in, names and numbers out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mlsys.faults import drift
from mlsys.faults.conductor import Course, Happened
from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import ABANDONED, FAILED, LEFT, OK, REJECTED, TIMED_OUT
from mlsys.record import Samples, Scalar

MOST_BINS = 120
MOST_NAMED = 4


def describe(table: pd.DataFrame, course: Course) -> tuple[dict[str, Scalar], Samples]:
    """`fault.*`, `drift.*` and `answered_twice` of one level, and its course second by second (`timeline.*`).

    `table`: the rows of the level as `mlsys.loadtest.rows.table` gives them. Times count from when its first measured
    request was due.
    """
    start_s = table.loc[table["phase"] == MEASURED, "intended_s"].min()
    zero_at = float(table["started_at"].iloc[0]) + float(start_s)
    happened = [one for one in course.happened if one.end_at is not None]
    ids = table.loc[(table["outcome"] == OK), "request_id"].dropna()
    values: dict[str, Scalar] = {"answered_twice": int(ids.duplicated().sum())}
    values |= {f"fault.{name}": count for name, count in counts(table).items()}
    values |= _spans(happened, course, zero_at)
    values |= _worst(table, happened, zero_at)
    values |= drift.describe(table, course, zero_at) | cpu(table, course)
    edges = [time for one in happened for time in (one.begin_at - zero_at, (one.end_at or 0.0) - zero_at)]
    return values, by_second(table, course, zero_at) | drift.course(course, zero_at) | {
        "timeline.fault_s": edges
    }


def counts(table: pd.DataFrame) -> dict[str, int]:
    """`lost` (sent, never answered or answered wrongly), `refused` (429, 503), `left`; warm-up included."""
    outcomes = Counter(table["outcome"])
    return {
        "lost": outcomes[FAILED] + outcomes[TIMED_OUT],
        "refused": outcomes[REJECTED],
        LEFT: int(((table["outcome"] == ABANDONED) & (table["error"] == LEFT)).sum()),
    }


def cpu(table: pd.DataFrame, course: Course) -> dict[str, Scalar]:
    """`service.cpu_ms`: CPU time of the service's own process for each request that was sent, refused ones too."""
    if len(course.holds) < 2:
        return {}
    (_, first), (_, last) = course.holds[0], course.holds[-1]
    return {"service.cpu_ms": 1e3 * (last.cpu_s - first.cpu_s) / len(table)}


def _spans(happened: Sequence[Happened], course: Course, zero_at: float) -> dict[str, Scalar]:
    told = [one.what for one in happened[:MOST_NAMED]]
    more = len(happened) - len(told)
    noticed = [one.noticed_at - one.begin_at for one in happened if one.noticed_at is not None]
    first = min((one.begin_at for one in happened), default=math.nan)
    last = max((one.end_at or one.begin_at for one in happened), default=math.nan)
    failed = [one.error for one in happened if one.error]
    return {
        "fault.what": "; ".join(told) + (f"; and {more} more" if more > 0 else "") if happened else None,
        "fault.count": len(happened),
        "fault.begin_s": first - zero_at if happened else None,
        "fault.lasted_s": last - first if happened else None,
        "fault.noticed_s": max(noticed, default=None),
        "fault.unnoticed": sum(one.noticeable for one in happened) - len(noticed),
        "fault.whole_s": None
        if course.whole_at is None or not happened
        else max(0.0, course.whole_at - last),
        **({"fault.error": failed[0]} if failed else {}),
    }


def _worst(table: pd.DataFrame, happened: Sequence[Happened], zero_at: float) -> dict[str, Scalar]:
    """`fault.before_rps`: answers a second before; `fault.worst_second_rps`: in the second that had fewest since."""
    times = (table["started_at"] + table["done_s"] - zero_at)[table["outcome"] == OK].to_numpy(np.float64)
    due = (table["started_at"] + table["intended_s"] - zero_at).to_numpy(np.float64)
    if not happened:
        return {}
    begin_s = min(one.begin_at for one in happened) - zero_at
    since = np.arange(math.ceil(begin_s), math.floor(float(due.max())) - 0)
    each = [int(((times >= second) & (times < second + 1)).sum()) for second in since]
    before = int(((times >= 0) & (times < begin_s)).sum())
    return {
        "fault.before_rps": before / begin_s if begin_s >= 1 else None,
        "fault.worst_second_rps": min(each, default=None),
        "fault.worst_second_s": float(since[int(np.argmin(each))]) if each else None,
    }


def by_second(table: pd.DataFrame, course: Course, zero_at: float) -> dict[str, list[float]]:
    """`timeline.second`: the middles of bins of a second or more; a second's answers, losses and refusals in each."""
    done = (table["started_at"] + table["done_s"] - zero_at).to_numpy(np.float64)
    end = max(float(done.max()), 1.0)
    width = max(1.0, math.ceil(end / MOST_BINS))
    edges = np.arange(0.0, end + width, width)
    found = {"timeline.second": [float(edge) for edge in edges[:-1] + width / 2]}
    outcome = table["outcome"].to_numpy()
    which: Mapping[str, tuple[str, ...]] = {
        "throughput_rps": (OK,),
        "lost_rps": (FAILED, TIMED_OUT),
        "refused_rps": (REJECTED,),
    }
    for name, kinds in which.items():
        number, _ = np.histogram(done[np.isin(outcome, kinds)], edges)
        found[f"timeline.{name}"] = [float(count / width) for count in number]
    looks = np.array([(at - zero_at, up) for at, up in course.looks], np.float64)
    if len(looks) and looks[:, 1].max() > 0:
        places = np.clip(np.searchsorted(looks[:, 0], edges[:-1]), 0, len(looks) - 1)
        ends = np.clip(np.searchsorted(looks[:, 0], edges[1:]), places + 1, len(looks))
        found["timeline.replicas_up"] = [
            float(looks[low:high, 1].min()) for low, high in zip(places, ends, strict=True)
        ]
    return found
