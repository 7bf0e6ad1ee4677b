"""What the service itself counted during a level: the difference of its `/stats` before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PATH = "/stats"
GROUPS = {"closed": "closed_by"}


def difference(before: Any, after: Any) -> dict[str, int]:
    """`closed_by.<reason>`: batches closed for each reason, warm-up included. Nothing where not told."""
    found: dict[str, int] = {}
    for group, shown in GROUPS.items():
        counts, earlier = _group(after, group), _group(before, group)
        found |= {f"{shown}.{name}": count - earlier.get(name, 0) for name, count in sorted(counts.items())}
    return found


def _group(stats: Any, name: str) -> Mapping[str, int]:
    group = stats.get(name) if isinstance(stats, Mapping) else None
    return {key: int(value) for key, value in group.items()} if isinstance(group, Mapping) else {}
