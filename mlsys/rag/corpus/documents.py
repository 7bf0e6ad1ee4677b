"""Files to documents: plain text, markup and tables, one reader a kind of file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Unreadable(Exception):
    """Why a file cannot be used."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text, its row in its file (None: it is the whole file), and the question it answers, if given."""

    text: str
    row: int | None = None
    question: str = ""


def read(path: Path, text_field: str) -> list[Document]:
    """The documents of a file. Raises `Unreadable` with the reason."""
    try:
        documents = list(READERS[path.suffix.lower()](path, text_field))
    except OSError as error:
        raise Unreadable(error.strerror or "cannot be read") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 at byte {error.start}") from error
    for document in documents:
        if any("\ud800" <= letter <= "\udfff" for letter in document.text + document.question):
            raise Unreadable(f"row {document.row} holds half of a surrogate pair, which is no character")
    documents = [document for document in documents if document.text.strip()]
    if not documents:
        raise Unreadable("empty")
    return documents


def _plain(path: Path, text_field: str) -> Iterator[Document]:
    yield Document(path.read_bytes().decode("utf-8-sig"))


def _html(path: Path, text_field: str) -> Iterator[Document]:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(path.read_bytes().decode("utf-8-sig"), "html.parser")
    for element in soup(["script", "style", "noscript", "template"]):
        element.decompose()
    lines = (line.strip() for line in soup.get_text("\n").splitlines())
    yield Document("\n".join(line for line in lines if line))


def _jsonl(path: Path, text_field: str) -> Iterator[Document]:
    lines = path.read_bytes().decode("utf-8-sig").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                rows.append((number, json.loads(line)))
            except json.JSONDecodeError as error:
                raise Unreadable(f"line {number} is no JSON: {error.msg}") from error
            except (
                ValueError,
                RecursionError,
            ) as error:  # thousands of digits, or of brackets within each other
                raise Unreadable(f"line {number} is JSON beyond what can be read") from error
    return _rows(rows, text_field)


def _csv(path: Path, text_field: str) -> Iterator[Document]:
    text = path.read_bytes().decode("utf-8-sig")
    try:
        rows = list(enumerate(csv.DictReader(io.StringIO(text, newline="")), 1))
    except csv.Error as error:
        raise Unreadable(f"no CSV: {error}") from error
    return _rows(rows, text_field)


def _parquet(path: Path, text_field: str) -> Iterator[Document]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise Unreadable(f"no parquet: {str(error).splitlines()[0]}") from error
    return _rows(enumerate(table.to_pylist(), 1), text_field)


def _rows(rows: Iterable[tuple[int, Any]], text_field: str) -> Iterator[Document]:
    """One document a row: its text field, or where it has none all its text; `question` if it has one."""
    for number, row in rows:
        if isinstance(row, str):
            yield Document(row, number)
        if not isinstance(row, Mapping):
            continue
        text = row.get(text_field)
        if not isinstance(text, str):
            texts = {
                name: value for name, value in row.items() if name != "question" and isinstance(value, str)
            }
            text = "\n".join(f"{name}: {value}" for name, value in texts.items())
        question = row.get("question")
        yield Document(text, number, question if isinstance(question, str) else "")


READERS: dict[str, Callable[[Path, str], Iterable[Document]]] = {
    ".txt": _plain,
    ".md": _plain,
    ".rst": _plain,
    ".html": _html,
    ".htm": _html,
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
