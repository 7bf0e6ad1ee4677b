"""Where fetched models and computed indexes are kept, safe for several processes that start at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from mlsys import progress
from mlsys.errors import UserError

LOCK_TIMEOUT_S = 900.0


def root() -> Path:
    """`MLSYS_CACHE`, or `mlsys` in the user's cache folder."""
    return Path(os.environ.get("MLSYS_CACHE") or user_cache_path("mlsys"))


def directory(name: str) -> Path:
    """A folder of the cache, made if need be. Raises UserError where it cannot be written."""
    path = root() / name
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"MLSYS_CACHE={root()} cannot be written: {error.strerror}") from error
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path`: the first process does the work, the others wait and find it done."""
    lock = FileLock(path.parent / f".{path.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say(f"waiting for another process that prepares {path.name}")
        lock.acquire(timeout=LOCK_TIMEOUT_S)
    try:
        yield
    finally:
        lock.release()
