"""Ray's autoscaling seen by clients: a rush comes and goes, how many replicas answer in each second, and how late."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from mlsys.loadtest.benchmark import ServingBenchmark
from mlsys.loadtest.rows import ABANDONED, FILE_NAME, OK, REJECTED

CALM_RPS, RUSH_RPS, STEP_S, MOST = 4.0, 30.0, 45.0, 3
UP_S, DOWN_S = 3.0, 10.0
LOAD = (
    # a batch of 4 in 0.3 s: 13 requests a second for each replica
    *("server=ray", "batching.max_size=4", "generator=simulated", "generator.base_ms=300"),
    *("generator.per_token_ms=0", "generator.per_request_ms=0"),
    f"server.autoscaling={{min: 1, max: {MOST}, target: 4, up_after_s: {UP_S:g}, down_after_s: {DOWN_S:g}}}",
    *("loadtest=step", f"loadtest.rates=[{CALM_RPS},{RUSH_RPS},{CALM_RPS}]", f"loadtest.step_s={STEP_S:g}"),
    *("loadtest.warmup_requests=4", "loadtest.timeout_s=60"),
)


def scaled(directory: Path, common: tuple[str, ...], composed: Callable[..., dict[str, Any]]) -> str:
    """Markdown, a row for each five seconds; `scaling.json` beside it."""
    place = directory / "scaling"
    words = (word for word in common if "duration" not in word and "batching.max_size" not in word)
    list(ServingBenchmark(composed(*words, *LOAD), place).measure())
    found = seen(pd.read_parquet(place / FILE_NAME))
    (directory / "scaling.json").write_text(json.dumps(found, indent=1) + "\n")
    lines = [
        f"**Autoscaling** ({CALM_RPS:g}, {RUSH_RPS:g} and {CALM_RPS:g} requests a second, {STEP_S:g} s each; "
        f"up after {UP_S:g} s, down after {DOWN_S:g} s)",
        "",
        f"All {MOST} replicas answer {_shown(found['up_s'])} s after the rush began, only one "
        f"{_shown(found['down_s'])} s after it ended. Lost: {found['lost']} of {found['requests']}.",
        "",
        "| second | sent, req/s | answered, req/s | p95, ms | replicas that answer |",
        "|---" * 5 + "|",
    ]
    for one in found["course"]:
        cells = (one["second"], one["sent_rps"], one["answered_rps"], one["p95_ms"], one["replicas"])
        lines.append("| " + " | ".join(map(_shown, cells)) + " |")
    print("\n".join(lines), flush=True)
    return "\n".join([*lines, ""])


def seen(rows: pd.DataFrame, every_s: int = 5) -> dict[str, Any]:
    """Out of every request. `up_s`, `down_s`: None where it did not happen."""
    good = rows[rows["outcome"] == OK]
    course = []
    for start in range(0, int(3 * STEP_S), every_s):
        sent = rows[(rows["sent_s"] >= start) & (rows["sent_s"] < start + every_s)]
        done = good[(good["done_s"] >= start) & (good["done_s"] < start + every_s)]
        took_ms = 1e3 * (done["done_s"] - done["sent_s"])
        course.append(
            {
                "second": start,
                "sent_rps": len(sent) / every_s,
                "answered_rps": len(done) / every_s,
                "p95_ms": float(took_ms.quantile(0.95)) if len(done) else None,
                "replicas": int(done["replica"].nunique()),
            }
        )
    rush_s, over_s = STEP_S, 2 * STEP_S
    first = good.groupby("replica")["done_s"].min().sort_values()
    last = good.groupby("replica")["done_s"].max().sort_values(ascending=False)
    return {
        "requests": len(rows),
        "lost": int((~rows["outcome"].isin([OK, REJECTED, ABANDONED])).sum()),
        "rejected": int((rows["outcome"] == REJECTED).sum()),
        "up_s": float(first.iloc[MOST - 1]) - rush_s if len(first) >= MOST else None,
        "down_s": float(last.iloc[1]) - over_s if len(last) > 1 and last.iloc[1] < 3 * STEP_S - 5 else None,
        "course": course,
    }


def _shown(value: Any) -> str:
    return "never" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)
