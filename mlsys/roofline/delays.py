"""How long a thread was ready to run and no processor was free for it: what contention costs, as Linux counts it."""

from __future__ import annotations

from pathlib import Path


def waited_us(thread: int) -> int:
    """Microseconds of the thread of this process with that number so far; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[1]) // 1000
    except (OSError, ValueError, IndexError):
        return 0
