"""Is a replica to be trusted with requests? Active checks with rise and fall, passive ejection, no clock of
its own.

Active: `fall` bad checks in a row take it out, `rise` good ones bring it back (HAProxy). Passive:
`eject_after` failures in a row eject it for `eject_s`, twice as long the second time and so on (Envoy's
outlier detection); a success forgives. What only says that the client was wrong or the replica busy (4xx,
429, 503, and 504, the client's own deadline) is neutral: it neither condemns nor forgives. A status that is
no answer to a question (a redirect, say) is a failure.
"""

from __future__ import annotations

from collections.abc import Callable

NEUTRAL = frozenset({503, 504})


def _nobody() -> None:
    """Nobody is told."""


class Health:
    """One replica's state. Times are seconds on the caller's clock. `changed` is called when it is another."""

    def __init__(
        self, rise: int, fall: int, eject_after: int, eject_s: float, eject_max_s: float, up: bool = False
    ) -> None:
        self.rise, self.fall, self.eject_after = rise, fall, eject_after
        self.eject_s, self.eject_max_s = eject_s, eject_max_s
        self.up, self.ejections = up, 0
        self._streak, self._failures, self._ejected_until = 0, 0, float("-inf")
        self.changed: Callable[[], None] = _nobody

    def set(self, up: bool) -> None:
        """What is known for certain: the process has died, or has just announced itself."""
        self.up, self._streak, self._failures = up, 0, 0
        self._ejected_until = float("-inf")
        self.changed()

    def checked(self, good: bool) -> bool:
        """One active check. Returns whether it changed `up`."""
        if good == self.up:
            self._streak = 0
            return False
        self._streak += 1
        if self._streak < (self.rise if good else self.fall):
            return False
        self.set(good)
        return True

    def answered(self, status: int | None, now: float) -> bool:
        """A real request ended with this HTTP status; None: its connection failed. Returns whether that
        ejects.
        """
        if status is not None and (400 <= status < 500 or status in NEUTRAL):
            return False
        if status == 200:
            self._failures = 0
            return False
        self._failures += 1
        if self._failures < self.eject_after or self.ejected(now):
            return False
        self._failures = 0
        self.ejections += 1
        self._ejected_until = now + min(self.eject_s * self.ejections, self.eject_max_s)
        self.changed()
        return True

    @property
    def ejected_until(self) -> float:
        """When it is to be trusted again."""
        return self._ejected_until

    def ejected(self, now: float) -> bool:
        """Whether it is ejected at `now`."""
        return now < self._ejected_until
