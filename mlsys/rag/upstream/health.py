"""Whether another server is there: asked again and again, and at once when a request has failed.

A server whose connection fails is down until it answers. One that is slow or answers 5xx may just be busy: it is asked
once more before it is believed to be down, and never is while it answers requests. What needs a server that is down
fails at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

DOWN_INTERVAL_S = 1.0
FALL = 2


@dataclass(frozen=True)
class Trouble:
    """Why a check failed. `is_certain`: there is no server to talk to."""

    why: str
    is_certain: bool


class Health:
    """Told of each check."""

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s, self._clock = interval_s, clock
        self._bad, self._since, self._heard = 0, 0.0, False
        self.outages = 0
        self.trouble: str | None = None

    @property
    def interval_s(self) -> float:
        """When to ask again."""
        return min(DOWN_INTERVAL_S, self._interval_s) if self._bad else self._interval_s

    def heard(self) -> None:
        """It has answered a request."""
        self._heard = True

    def checked(self, trouble: Trouble | None) -> None:
        """One check: None where it answers."""
        heard, self._heard = self._heard, False
        if trouble is None or (heard and not trouble.is_certain):
            self._bad, self.trouble = 0, None
            return
        self._bad += 1
        if self.trouble is None and (trouble.is_certain or self._bad >= FALL):
            self.outages += 1
            self._since, self.trouble = self._clock(), trouble.why

    def down_s(self) -> float:
        """How long it has been down."""
        return 0.0 if self.trouble is None else self._clock() - self._since
