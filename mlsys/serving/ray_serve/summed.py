"""What replicas count, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mlsys.serving.meters import TALLIES

COUNTS = ("waiting", "running", "workers", "in_flight", "jobs")
KEPT = ("state", "responses", "waiting", "running", "in_flight", "gpu", "pid")


def summed(mode: str, state: str, replicas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`/stats` of a service with these replicas, each with its `label`. Its front is Ray's, which does not tell."""
    tallies: dict[str, Counter[str]] = {name: Counter() for name in ("responses", *TALLIES)}
    for name, total in tallies.items():
        for stats in replicas:
            total.update(stats.get(name) or {})
    each = {
        str(stats.get("label")): {name: stats[name] for name in KEPT if name in stats}
        for stats in sorted(replicas, key=lambda stats: str(stats.get("label")))
    }
    return {
        "mode": mode,
        "state": state,
        **{name: dict(total) for name, total in tallies.items()},
        **{name: sum(stats.get(name) or 0 for stats in replicas) for name in COUNTS},
        "replicas": each,
        "front": {},
        "pipeline": next((stats["pipeline"] for stats in replicas if stats.get("pipeline")), {}),
    }
