"""`loadtest=none`: no load; the service is started and serves until Ctrl-C."""

from __future__ import annotations

from mlsys.loadtest.arrivals import Listed


class Nothing(Listed):
    """No levels, no requests."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.levels: list[float] = []
