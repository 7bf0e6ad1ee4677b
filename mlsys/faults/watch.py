"""`fault=watch`: nothing is broken. What the service holds and does is watched as it is while something is."""

from __future__ import annotations

from mlsys.faults import Fault


class Watch:
    """No fault at all: a level has `drift.*`, `service.cpu_ms` and `residual.*` all the same."""

    def __init__(self, name: str) -> None:
        self.name = name

    def plan(self) -> list[Fault]:
        """Nothing."""
        return []
