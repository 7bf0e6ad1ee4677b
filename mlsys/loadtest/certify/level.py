"""What a level's requests prove, as names and numbers beside its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mlsys.loadtest.certify import autocorrelation, little, percentiles, steady_state
from mlsys.loadtest.certify.autocorrelation import Interval
from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import OK, Row
from mlsys.loadtest.window import Window
from mlsys.record import Scalar

PARTS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def certified(
    repeats: Sequence[Sequence[Row]], windows: Sequence[Window], met: Callable[[Row], bool] | None
) -> dict[str, Scalar]:
    """Intervals and proofs of a level.

    `e2e_ms.mean_low`, `e2e_ms.p95_high` and the like: where the figure lies, with 95 % confidence.
    `e2e_ms.p95_certified`: what 95 % of all requests do not exceed, with 99 % (MLCommons). Each is None where the
    requests are too few. `e2e_ms.effective_requests`: how many independent ones they are worth. `steady.*`: whether
    there is a steady state, how many of the first requests MSER-5 would leave out, the mean and p95 without them.
    `littles_law.ratio`: L over λW. `met`: whether a request met the objectives, for `goodput.effective_requests`.
    """
    measured = [[row for row in rows if row.phase == MEASURED] for rows in repeats]
    times = [np.array([row.e2e_ms for row in rows if row.outcome == OK]) for rows in measured]
    values: dict[str, Scalar] = {"littles_law.ratio": little.ratio(repeats, windows)}
    values |= _between("e2e_ms.mean", autocorrelation.mean_interval(times))
    for part, share in PARTS.items():
        values |= _between(f"e2e_ms.{part}", percentiles.interval(times, share))
        values[f"e2e_ms.{part}_certified"] = percentiles.certified_of(times, share)
    values["e2e_ms.effective_requests"] = autocorrelation.effective_size(times)
    if met is not None:
        values["goodput.effective_requests"] = _worth(measured, met)
    return values | _steady(times)


def _worth(measured: Sequence[Sequence[Row]], met: Callable[[Row], bool]) -> float:
    """How many independent requests say what share met the objectives.

    Where all did, or none, that they did tells nothing of how much they resemble each other: their latencies do.
    """
    good = [np.array([float(met(row)) for row in rows]) for rows in measured]
    told = [
        one if one.any() and not one.all() else np.array([row.e2e_ms for row in rows])
        for one, rows in zip(good, measured, strict=True)
    ]
    return autocorrelation.effective_size(told)


def _between(name: str, interval: Interval | None) -> dict[str, Scalar]:
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return {f"{name}_low": low, f"{name}_high": high}


def _steady(times: Sequence[autocorrelation.Floats]) -> dict[str, Scalar]:
    cuts = [0 if (found := steady_state.find(one)) is None else found.cut for one in times]
    left = np.concatenate([one[cut:] for one, cut in zip(times, cuts, strict=True)])
    return {
        "steady.reached": steady_state.all_reached(times),
        "steady.cut_requests": sum(cuts),
        "steady.e2e_ms.mean": float(left.mean()) if len(left) else None,
        "steady.e2e_ms.p95": float(np.quantile(left, 0.95)) if len(left) else None,
    }
