"""A level waits until whoever started the load generator is ready for it: a file says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

POLL_S = 0.005
AFTER = -1  # the gate behind the last level


def open_for(directory: Path, level: int) -> None:
    """Let the level begin."""
    _path(directory, level).touch()


async def passed(directory: Path, level: int) -> None:
    """Wait until the level may begin. The parent's end ends this process."""
    while not _path(directory, level).exists():
        await asyncio.sleep(POLL_S)
    _path(directory, level).unlink()


def _path(directory: Path, level: int) -> Path:
    return directory / f"gate.{level}"
