"""Writing a file that others may be reading."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace(path: Path, content: str) -> Path:
    """Write a text file in one step, so that a reader (or a browser that reloads) never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
    Path(name).chmod(0o644)
    Path(name).replace(path)
    return path
