"""Rows of a file that is not ours (a trace, questions): JSON lines, a JSON list, CSV or parquet, read within bounds.

Each row comes with its place, so that what is wrong with it can be said with the file's name and the line.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from mlsys.errors import UserError

MOST_LINE = 4 << 20
MOST_JSON = 1 << 28
Row = tuple[str, Mapping[str, Any]]


def rows(option: str, path: str) -> Iterator[Row]:
    """The file's rows, each with its place (`loadtest.path=F, line 7`). Raises UserError for what is no table."""
    suffix = Path(path).suffix.lower()
    if suffix not in READERS:
        raise UserError(f"{option}={path} is none of: {' '.join(READERS)}")
    try:
        yield from READERS[suffix](f"{option}={path}", Path(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{option}={path} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None


def sha256(path: str) -> str:
    """The file's digest."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(name: str, file: IO[str]) -> Iterator[str]:
    number = 0
    while line := file.readline(MOST_LINE + 1):
        number += 1
        if len(line) > MOST_LINE:
            raise UserError(f"{name}, line {number}: longer than {MOST_LINE} characters")
        yield line


def _json_lines(name: str, path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(_lines(name, file), 1):
            if line.strip():
                place = f"{name}, line {number}"
                yield place, _object(place, _parsed(place, line))


def _json_list(name: str, path: Path) -> Iterator[Row]:
    if path.stat().st_size > MOST_JSON:
        raise UserError(f"{name} is larger than {MOST_JSON >> 20} MiB: write it as JSON lines (.jsonl)")
    content = _parsed(name, path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, list):
        raise UserError(f"{name} is no JSON list")
    for number, one in enumerate(content, 1):
        place = f"{name}, item {number}"
        yield place, _object(place, one)


def _csv(name: str, path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(_lines(name, file), strict=True)
        try:
            for row in reader:
                place = f"{name}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise UserError(f"{place}: not as many columns as the first line names")
                yield place, row
        except csv.Error as error:
            raise UserError(f"{name}, line {reader.line_num + 1}: {error}") from None


def _parquet(name: str, path: Path) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{name}, row {number}", row
    except pa.ArrowException as error:
        raise UserError(f"{name} is no parquet file: {str(error).splitlines()[0]}") from None


def _parsed(place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: no JSON: {error}") from None


def _object(place: str, content: Any) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise UserError(f"{place}: no JSON object")
    return content


READERS: dict[str, Callable[[str, Path], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_list,
    ".csv": _csv,
    ".parquet": _parquet,
}
