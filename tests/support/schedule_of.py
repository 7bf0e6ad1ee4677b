"""When an open loop's requests are due, whatever became of earlier ones."""

from __future__ import annotations

from mlsys.loadtest.arrivals import ArrivalProcess


def due(process: ArrivalProcess, count: int) -> list[float]:
    """The first `count` intended times; neither lateness nor a queue moves them."""
    found = []
    for _ in range(count):
        at = process.due_s(now_s=1e9, in_flight=1000)
        assert at is not None
        found.append(at)
        process.sent()
    return found
