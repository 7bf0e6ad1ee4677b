"""How long a dead replica waits to be started again: doubled each time, forgotten after a steady run."""

from __future__ import annotations

STEADY_S = 60.0


class Backoff:
    """Seconds from `least_s` to `most_s`."""

    def __init__(self, least_s: float, most_s: float) -> None:
        self.least_s, self.most_s = least_s, most_s
        self._deaths = 0

    def after(self, lived_s: float) -> float:
        """It died after `lived_s` seconds: how long to wait now."""
        if lived_s >= STEADY_S:
            self._deaths = 0
        wait_s = min(self.least_s * 2.0**self._deaths, self.most_s)
        self._deaths = min(self._deaths + 1, 30)
        return wait_s
