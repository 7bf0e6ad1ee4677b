"""Writing a file that others may be reading: in one step, and nothing is left behind where that fails."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace(path: Path, content: str) -> Path:
    """Write a text file in one step, so that a reader (or a browser that reloads) never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        beside.write_text(content, encoding="utf-8")
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path` that takes its place when the body has written it, and is gone if the body fails."""
    beside: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        os.close(handle)
        beside = Path(name)
        yield beside
        beside.chmod(0o644)
        beside.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk names none, and nobody knows the new file's name
        raise
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


@contextmanager
def assembling(path: Path) -> Iterator[Path]:
    """A name in a new folder beside `path`: the file or folder of that name takes the place of `path`, if the body
    succeeds. Whatever else was put into the folder goes with it."""
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=".new-"))
    try:
        yield scratch / path.name
        (scratch / path.name).replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
