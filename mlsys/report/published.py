"""Others' published figures beside the runs: a CSV, read as rows of the same names."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsys.errors import UserError
from mlsys.report.rows import PUBLISHED_RUN, Row, derived

KEYS = {"server": "config.server.name", "metric": "config.metric.name"}


def read(path: Path) -> list[Row]:
    """Others' figures from a CSV, a row a line: columns `server` or `metric`, `n` or `concurrency`, results by name.

    Raises UserError for a file that is no such table.
    """
    try:
        with path.open(newline="") as file:
            lines = [dict(line) for line in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--published={path}: {error}") from error
    if not lines or not {"server", "metric"} & set(lines[0]):
        raise UserError(f"--published={path} has no column server or metric")
    return [_published(line) for line in lines]


def _published(line: Mapping[str, str]) -> Row:
    workload = "serving" if "server" in line else "distance"
    row: Row = {"run": PUBLISHED_RUN, "record": None, "level": None, "workload": workload, "status": "ok"}
    row |= {"error": None, "started_at": "", "source": PUBLISHED_RUN}
    for key, text in line.items():
        if key and text:
            row[KEYS.get(key, key)] = _number_in(text)
    return derived(row)


def _number_in(text: str) -> Any:
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() else value
