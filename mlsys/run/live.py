"""Who measures into a directory just now: a lock that the system drops with its process, and that leaves no file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Claim:
    """A directory that this process measures into, until `release` or the process's end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def claim(directory: Path) -> Claim | None:
    """Make and claim `directory`; None where another run has claimed it. A file system without locks claims nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # some network file systems
        return Claim(descriptor)
    return Claim(descriptor)


def claimed(directory: Path) -> bool:
    """Whether a run is measuring into `directory`."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
