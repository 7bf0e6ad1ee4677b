"""Kill -9 under load, as clients see it: what is lost, until when, and when everything is whole again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from watching import Watch, service_pid

from mlsys.errors import one_line
from mlsys.loadtest.benchmark import ServingBenchmark
from mlsys.loadtest.rows import ABANDONED, FILE_NAME, OK, REJECTED

AFTER_S, SECONDS, CLIENTS = 4.0, 24.0, 12
STAYS_S = 2.0  # a replica that is back answers somebody within so long
LOAD = (
    *("generator=simulated", "generator.base_ms=100", "generator.per_token_ms=0", "loadtest=closed"),
    *(
        f"loadtest.concurrency={CLIENTS}",
        f"loadtest.duration_s={SECONDS:g}",
        "loadtest.timeout_s=10",
        "server.replicas=3",
    ),
)
REPLICA, DOOR = "a replica", "what stands before them"


@dataclass(frozen=True)
class Case:
    """What is killed of which service. `words` are looked for in the victim's command line."""

    service: str
    what: str
    options: tuple[str, ...]
    words: tuple[str, ...]


RAY_REPLICA = ("ray::ServeReplica",)
CASES = (
    Case("lb", REPLICA, ("server=lb", "balancer=least_in_flight"), ("mlsys.serve", "replica-1.yaml")),
    Case("ray", REPLICA, ("server=ray",), RAY_REPLICA),
    Case("ray, HAProxy", REPLICA, ("server=ray", "server.proxy=haproxy"), RAY_REPLICA),
    Case("ray", DOOR, ("server=ray",), ("ray::ProxyActor",)),
    Case("ray, HAProxy", DOOR, ("server=ray", "server.proxy=haproxy"), ("haproxy", "-f")),
)


class Killer(threading.Thread):
    """Kills once there has been load for a while."""

    def __init__(self, directory: Path, words: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self.directory, self.words = directory, words
        self.at: float | None = None

    def run(self) -> None:
        log = self.directory / "loadtest.log"
        while not (log.exists() and log.stat().st_size):
            time.sleep(0.05)
        time.sleep(AFTER_S)
        for process in Watch(self.directory, service_pid(self.directory)).processes():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if all(word in line for word in self.words):
                    self.at = time.time()
                    os.kill(process.pid, signal.SIGKILL)
                    return


def seen(directory: Path, at: float, replicas: int) -> dict[str, Any]:
    """Out of every request: lost ones, the last loss, the longest silence, and when all replicas answer again."""
    rows = pd.read_parquet(directory / FILE_NAME)
    ended = rows["started_at"] + rows["done_s"] - at
    good = rows["outcome"] == OK
    bad = ~rows["outcome"].isin(
        [OK, REJECTED, ABANDONED]
    )  # the last: the client hung up when the load was over
    after = rows[good & (ended > 0)].assign(ended=ended).sort_values("ended")
    names = (
        after[after["ended"] > 1.0].groupby("replica")["ended"].min()
        if len(after)
        else pd.Series(dtype=float)
    )
    gaps = pd.concat([pd.Series([0.0]), after["ended"]]).diff()
    return {
        "requests": len(rows),
        "lost": int(bad.sum()),
        "last_lost_s": float(ended[bad].max()) if bad.any() else None,
        "longest_silence_s": float(gaps.max()) if len(after) else None,
        "whole_s": back(rows, ended, good, replicas),
        "replicas_seen": len(names),
    }


def back(rows: pd.DataFrame, ended: pd.Series[float], good: pd.Series[bool], replicas: int) -> float | None:
    """When the last replica came back: the first answer after each one's longest pause around the kill."""
    times = [
        ended[good & (rows["replica"] == name)].sort_values() for name in rows["replica"].dropna().unique()
    ]
    late = []
    for one in times:
        before, after = one[one <= 0], one[one > 0]
        if not len(after) or ended.max() - after.max() > STAYS_S:  # its last ones were on their way
            return None
        pauses = pd.concat([before.tail(1), after]).diff()
        late.append(float(one[pauses.idxmax()]) if pauses.max() > 1.0 else float(after.min()))
    return max(late) if len(late) >= replicas else None


def killed(directory: Path, common: tuple[str, ...], composed: Callable[..., dict[str, Any]]) -> str:
    """Markdown, a row for each case; `kills.jsonl` beside it."""
    lines = [
        "**Killed under load** (12 clients, 100 ms a batch, 3 replicas)",
        "",
        "| service | killed | requests | lost | last loss, s | longest silence, s | whole again, s |",
        "|---" * 7 + "|",
    ]
    for number, case in enumerate(CASES):
        place = directory / "kills" / str(number)
        plain = composed(*case.options, *(word for word in common if "duration" not in word), *LOAD)
        killer = Killer(place, case.words)
        killer.start()
        try:
            list(ServingBenchmark(plain, place).measure())
            found = seen(place, killer.at or time.time(), 3)
        except Exception as error:
            found = {"error": one_line(error)}
        with (directory / "kills.jsonl").open("a") as file:
            file.write(json.dumps({"service": case.service, "killed": case.what, **found}) + "\n")
        shown = [
            _shown(found.get(name))
            for name in ("requests", "lost", "last_lost_s", "longest_silence_s", "whole_s")
        ]
        lines.append(f"| {case.service} | {case.what} | " + " | ".join(shown) + " |")
        print(lines[-1], flush=True)
    return "\n".join([*lines, ""])


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
