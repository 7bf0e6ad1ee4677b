"""Whether a level measured the service or its own client: if the client was the limit, the level says so.

The signs are how late the client's event loop is, how much of a core it takes, and what it failed to send.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import OK, Row
from mlsys.record import Scalar

INTERVAL_S = 0.01
LAG_SHARE_OF_LATENCY = 0.05
LAG_FLOOR_MS = 20.0
CPU_LIMIT = 0.9
RATE_LIMIT = 0.95
CLIENT_ERRORS = ("Too many open files", "Cannot assign requested address")


class Watch:
    """Samples the lag of the running event loop while the body of its `async with` runs."""

    @staticmethod
    def prepare() -> None:
        """Before a level: what the collector would do in its midst is done now."""
        gc.collect()

    def __init__(self) -> None:
        self.lags_ms: list[float] = []
        self.cpu_share = 0.0

    async def __aenter__(self) -> Watch:
        self._started = (time.perf_counter(), time.process_time())
        self._task = asyncio.create_task(self._sample())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        wall_s = time.perf_counter() - self._started[0]
        self.cpu_share = (time.process_time() - self._started[1]) / max(wall_s, 1e-9)

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self.lags_ms.append(1e3 * max(loop.time() - due, 0.0))


class Several(Watch):
    """What was seen of several client processes: (lags in ms, share of a core) of each."""

    def __init__(self, each: Sequence[tuple[list[float], float]]) -> None:
        super().__init__()
        self.each = list(each)
        self.lags_ms = [lag for lags_ms, _ in each for lag in lags_ms]
        self.cpu_share = max(share for _, share in each)

    @staticmethod
    def describe(watches: Sequence[Watch]) -> dict[str, Scalar]:
        """`client.processes`, and of each where there are several its worst `cpu_share` and lag, by repeats."""
        each = [watch.each for watch in watches if isinstance(watch, Several)]
        values: dict[str, Scalar] = {"client.processes": max(map(len, each), default=1)}
        for index in range(max(map(len, each), default=0)):
            lags_ms = [lag for one in each for lag in one[index][0]]
            values[f"client.{index}.cpu_share"] = max(one[index][1] for one in each)
            values[f"client.{index}.p99_lag_ms"] = float(np.percentile(lags_ms, 99)) if lags_ms else 0.0
        return values


def validity(
    rows: Sequence[Row], lags_ms: Sequence[float], cpu_share: float, open_loop: bool
) -> dict[str, Scalar]:
    """`valid`, `invalid_reason`, `client.*` and, in an open loop, `achieved_rate_rps`, of all repeats."""
    measured = [row for row in rows if row.phase == MEASURED]
    lag_p99_ms = float(np.percentile(lags_ms, 99)) if len(lags_ms) else 0.0
    values: dict[str, Scalar] = {
        "client.max_lag_ms": float(max(lags_ms, default=0.0)),
        "client.p99_lag_ms": lag_p99_ms,
        "client.cpu_share": cpu_share,
    }
    reasons = [_lag(measured, lag_p99_ms), _cpu(cpu_share), _errors(measured)]
    if open_loop:
        offered, achieved = (_rate(measured, name) for name in ("intended_s", "sent_s"))
        values["achieved_rate_rps"] = achieved
        if offered and achieved and achieved < RATE_LIMIT * offered:
            reasons.append(f"the client sent {achieved:.4g} of the {offered:.4g} requests/s that were due")
    found = [reason for reason in reasons if reason]
    return {"valid": not found, "invalid_reason": "; ".join(found) or None, **values}


def _lag(measured: Sequence[Row], lag_p99_ms: float) -> str | None:
    latencies = [row.e2e_ms for row in measured if row.outcome == OK]
    limit_ms = (
        max(LAG_FLOOR_MS, LAG_SHARE_OF_LATENCY * float(np.median(latencies))) if latencies else LAG_FLOOR_MS
    )
    if lag_p99_ms <= limit_ms:
        return None
    return f"the client's event loop was late by {lag_p99_ms:.3g} ms (p99; limit {limit_ms:.3g} ms)"


def _cpu(share: float) -> str | None:
    return f"the client took {100 * share:.0f} % of a core" if share > CPU_LIMIT else None


def _errors(measured: Sequence[Row]) -> str | None:
    hit = sum(any(text in (row.error or "") for text in CLIENT_ERRORS) for row in measured)
    return (
        f"{hit} requests failed for lack of sockets on the client's side (ulimit -n, local ports)"
        if hit
        else None
    )


def _rate(measured: Sequence[Row], name: str) -> float | None:
    """Requests a second between the first and the last of one repeat (repeats are averaged)."""
    rates = []
    for repeat in sorted({row.repeat for row in measured}):
        times = [getattr(row, name) for row in measured if row.repeat == repeat]
        if len(times) > 1 and max(times) > min(times):
            rates.append((len(times) - 1) / (max(times) - min(times)))
    return float(np.mean(rates)) if rates else None
