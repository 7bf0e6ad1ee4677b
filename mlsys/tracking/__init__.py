"""Where a record goes besides its own file. It works from the record alone and can be run again."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mlsys.record import Record


class Sink(Protocol):
    """What `tracking=...` names."""

    name: str

    def open(self, record: Record, directory: Path) -> None:
        """Called before anything is measured. Raise `UserError` where the sink could not be used later."""
        ...

    def close(self, record: Record) -> None:
        """Called with the ended record, whether it is ok or failed."""
        ...


class NullSink:
    """`tracking=off`: the record's own files are all that is written."""

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self, record: Record, directory: Path) -> None:
        """Do nothing."""

    def close(self, record: Record) -> None:
        """Do nothing."""
