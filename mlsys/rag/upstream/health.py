"""Whether another server is there: asked again and again, and at once when a request has failed.

A server whose connection fails is down until it answers. One that is slow or answers 5xx may just be busy: it is asked
once more before it is believed to be down, and never is where a request got something of it meanwhile. What needs a
server that is down fails at once.

So one that is frozen is down after two checks of `connection.CHECK_S`, of which the first begins after `interval_s` or
when a request has timed out, whichever is earlier.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

DOWN_INTERVAL_S = 1.0
AGAIN_S = 0.25  # before a server in doubt is asked once more
FALL = 2


@dataclass(frozen=True)
class Trouble:
    """Why a check failed. `is_certain`: there is no server to talk to; `is_final`: and there will be none."""

    why: str
    is_certain: bool
    is_final: bool = False


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
        if not self._bad:
            return self._interval_s
        return min(AGAIN_S if self.trouble is None else DOWN_INTERVAL_S, self._interval_s)

    def heard(self) -> None:
        """A request has got an answer, or a piece of one."""
        self._heard = True

    def asked(self) -> None:
        """A check begins."""
        self._heard = False

    def checked(self, trouble: Trouble | None) -> None:
        """It has ended: None where it was answered."""
        if trouble is None or (self._heard and not trouble.is_certain):
            self._bad, self.trouble = 0, None
            return
        self._bad += 1
        if self.trouble is None and (trouble.is_certain or self._bad >= FALL):
            self.outages += 1
            self._since, self.trouble = self._clock(), trouble.why

    def down_s(self) -> float:
        """How long it has been down."""
        return 0.0 if self.trouble is None else self._clock() - self._since
