"""What another load tester measured, as a record: only what it says. The rest is not there, and so unknown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlsys.record import FILE_NAME, Record, Scalar, digest, now

TOOL = "tool"  # in a record's environment: whose result it is
FILE = "file"


@dataclass(frozen=True)
class Level:
    """One of its results. `kind`: tool, model and address, by which results belong together."""

    kind: tuple[str, str, str]
    streamed: bool
    values: Mapping[str, Scalar]
    file: str
    started_at: str | None = None
    command: str | None = None
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)


def record(levels: Sequence[Level]) -> Record:
    """One record of results of one tool and model, a level each, the lightest load first."""
    ordered = sorted(levels, key=_load)
    first = ordered[0]
    tool, model, url = first.kind
    closed = "concurrency" in first.values
    loads = [level.values.get("concurrency" if closed else "offered_rate_rps") for level in ordered]
    config: dict[str, Any] = {
        "server": {"name": tool, "url": url or None, "model": model},
        "loadtest": {
            "name": "closed" if closed else "poisson",
            ("concurrency" if closed else "request_rate"): loads,
            "stream": first.streamed,
        },
    }
    made = Record(
        workload="serving",
        command=[first.command or tool],
        config=config,
        config_digest=digest(config),
        environment={TOOL: tool, FILE: first.file},
        started_at=min((level.started_at for level in ordered if level.started_at), default=now()),
        status="ok",
        error=None,
        levels=[dict(level.values) for level in ordered],
    )
    made.samples = {
        f"levels.{index}.{name}": list(values)
        for index, level in enumerate(ordered)
        for name, values in level.samples.items()
    }
    return made


def tool_of(entry: Record) -> str | None:
    """Whose result a record is; None for ours."""
    tool = entry.environment.get(TOOL)
    return tool if isinstance(tool, str) else None


def file_of(entry: Record) -> str:
    """The name of the file that a record is read from, below its directory."""
    file = entry.environment.get(FILE)
    return file if tool_of(entry) and isinstance(file, str) else FILE_NAME


def number(value: Any) -> float | None:
    """A finite number; None for whatever else stands there."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def _load(level: Level) -> float:
    value = level.values.get("concurrency", level.values.get("offered_rate_rps"))
    return float(value) if isinstance(value, (int, float)) else math.inf
