"""Records in the words of other load testers, and theirs in ours: vLLM's `bench serve` and AIPerf.

A format is a module with `TOOL`, `is_one`, `read` and `written`. Others count latency from the moment a request was
sent, never from when it was due: what is written has their meaning, and what is read says whose it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from mlsys.formats.foreign import Level, record
from mlsys.record import FILE_NAME, Record

NAMES = ("aiperf", "vllm")
MOST_BYTES = 256 << 20
MOST_FILES = 1000


def named(format_: str) -> ModuleType:
    """The module of this name. Not imported before it is needed, since it needs pandas."""
    return import_module(f"{__name__}.{format_}")


def load(file: Path) -> Level | None:
    """What another tool measured, from its JSON; None for a file that is none. Raises ValueError for a broken one."""
    try:
        if file.stat().st_size > MOST_BYTES:
            return None
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    for format_ in map(named, NAMES):
        if isinstance(content, Mapping) and format_.is_one(content):
            try:
                level: Level = format_.read(content, file.name)
            except ValueError as error:
                raise ValueError(f"{file}: {error}") from error
            return level
    return None


def find(path: Path) -> list[tuple[Path, Record]]:
    """Others' results in a file or below a directory, those of one tool and model as the levels of one record.

    Raises ValueError for a file that begins as one and is broken.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))[:MOST_FILES]
    found: dict[tuple[str, ...], list[Level]] = {}
    home = path.parent if path.is_file() else path
    for file in files:
        if file.name != FILE_NAME and (level := load(file)) is not None:
            level = replace(level, file=str(file.relative_to(home)))
            found.setdefault((*level.kind, str(level.streamed)), []).append(level)
    return [(home, record(levels)) for levels in found.values()]


def written(format_: str, entry: Record, level: int, requests: Any, detailed: bool) -> Any:
    """One level of a record, in a format. `requests`: its rows of `requests.parquet`. JSON-ready."""
    return named(format_).written(entry, level, requests, detailed)
