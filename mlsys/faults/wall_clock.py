"""A process's `time.time()`, moved from outside by eight bytes of a file. For `fault=clock_jump` alone."""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

VARIABLE = "MLSYS_FAULT_CLOCKS"
OFFSET = struct.Struct("d")


def install(label: str | None) -> None:
    """Move this process's wall clock as its file says, where the environment names a folder of such files."""
    if not (folder := os.environ.get(VARIABLE)):
        return
    path = Path(folder) / (label or "service")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(OFFSET.pack(0.0))
    with path.open("r+b") as file:
        told = mmap.mmap(file.fileno(), OFFSET.size)
    right = time.time

    def moved() -> float:
        return right() + float(OFFSET.unpack_from(told)[0])

    time.time = moved


def set_offset(folder: Path, label: str, seconds: float) -> None:
    """Tell the process of that label how wrong its clock is. Raises FileNotFoundError where none looks there."""
    with (folder / label).open("r+b") as file:
        file.write(OFFSET.pack(seconds))
