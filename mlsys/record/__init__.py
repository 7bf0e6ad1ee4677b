"""The record of one run: the truth from which every table, page and dashboard is drawn.

A record is written when a run starts and again after every part that was measured, so that a crash, a kill or a
Ctrl-C loses nothing. Until the run has ended the file says `failed`, `unfinished`, which is what it is should
nobody come back to write the end.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from mlsys import progress
from mlsys.errors import one_line
from mlsys.files import replace
from mlsys.record import check
from mlsys.record.check import SCHEMA

FILE_NAME = "record.json"
UNFINISHED = "unfinished: the run has not come to its end"
_passed_over: set[str] = set()  # what was said of files that are no records

Scalar = float | int | str | bool | None
Samples = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Results:
    """A measured part: flat names (dots group them) to scalars, and the repeats behind them."""

    values: Mapping[str, Scalar]
    samples: Samples = field(default_factory=dict)


@dataclass(frozen=True)
class Level:
    """One finished load level of a serving run: the same names in each level of a run."""

    values: Mapping[str, Scalar]
    samples: Samples = field(default_factory=dict)


class Workload(Protocol):
    """What `build` returns and a run measures. It yields each part as soon as it is measured."""

    kind: str

    def measure(self) -> Iterator[Results | Level]:
        """Measure; yield parts. Raise `UserError` for what the user can mend."""
        ...


@dataclass
class Record:
    """The contents of `record.json`.

    `samples` maps a result's name to the figures of its repeats; those of a level stand under `levels.<i>.<name>`.
    """

    workload: str
    command: list[str]
    config: dict[str, Any]
    config_digest: str
    environment: dict[str, Any]
    started_at: str
    finished_at: str | None = None
    status: str = "failed"
    error: str | None = UNFINISHED
    results: dict[str, Scalar] = field(default_factory=dict)
    levels: list[dict[str, Scalar]] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=dict)
    schema: int = SCHEMA

    def add(self, part: Results | Level) -> None:
        """Take in one measured part."""
        prefix = ""
        if isinstance(part, Level):
            prefix = f"levels.{len(self.levels)}."
            self.levels.append(dict(part.values))
        else:
            self.results.update(part.values)
        self.samples.update({prefix + name: [float(v) for v in row] for name, row in part.samples.items()})

    def restart(self) -> None:
        """Forget what was measured, to take in the merged parts of several rounds instead."""
        self.results, self.levels, self.samples = {}, [], {}

    def end(self, error: str | None = None) -> None:
        """Close the record: `ok`, or `failed` with `error`."""
        self.status, self.error, self.finished_at = ("failed" if error else "ok"), error, now()

    def write(self, directory: Path) -> Path:
        """Write `record.json` into `directory` in one step: a reader never sees half a file."""
        text = json.dumps(_jsonable(asdict(self)), indent=1, allow_nan=False)
        return replace(directory / FILE_NAME, text + "\n")


def read(path: Path) -> Record:
    """Read a record from its file or from the directory that holds it. Raises ValueError if it is none.

    What is returned has the fields of `Record` with their types, however odd the file.
    """
    return _read(path / FILE_NAME if path.is_dir() else path)


def _read(file: Path) -> Record:
    try:
        return Record(**check.load(file))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: not a record: {one_line(error)}") from error
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}") from error


def find(roots: Iterable[Path]) -> list[tuple[Path, Record]]:
    """All records below `roots` with the directories that hold them, oldest first. What is no record is named once."""
    runs = []
    for directory in {path.parent for root in roots for path in root.rglob(FILE_NAME)}:
        try:
            runs.append((directory, _read(directory / FILE_NAME)))
        except ValueError as error:
            if str(error) not in _passed_over:
                _passed_over.add(str(error))
                progress.say(f"passed over: {error}")
    return sorted(runs, key=lambda pair: (pair[1].started_at, str(pair[0])))


def digest(config: Mapping[str, Any]) -> str:
    """sha256 of a resolved configuration without where its output goes (`tracking`)."""
    relevant = {name: value for name, value in config.items() if name not in {"tracking"}}
    text = json.dumps(_jsonable(relevant), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def now() -> str:
    """This moment in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _jsonable(value: Any) -> Any:
    """JSON has no nan and no infinity: they are written as the strings that `float()` reads."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _jsonable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return value
