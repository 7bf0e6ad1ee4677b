"""Is anybody there? A stopped or starved process takes connections and says nothing.

How long an answer takes does not tell: a model may think for a minute. But a living process answers a check
at once. So a replica on which requests wait is checked when it has made no sound for `silent_s / 2`, and
is silent while such a check has been unanswered for `silent_s`. Its requests are then asked elsewhere as
well; nothing is taken from it, so that a false alarm costs one question asked twice (hedged requests: Dean
and Barroso, The Tail at Scale, 2013).
"""

from __future__ import annotations

from collections.abc import Callable

from mlsys.serving.request import Clock


def _nobody() -> None:
    """Nobody is told."""


class Silence:
    """One replica's. `silent_s` 0: it is never silent. `changed` is called when that may change, then or later."""

    def __init__(self, silent_s: float, clock: Clock) -> None:
        self.silent_s, self._clock = silent_s, clock
        self._heard_at = float("-inf")
        self._asked_at: float | None = None
        self.changed: Callable[[], None] = _nobody

    def heard(self) -> None:
        """It made a sound: any answer, a refusal too."""
        was_asked = self._asked_at is not None
        self._heard_at, self._asked_at = self._clock(), None
        if was_asked:
            self.changed()

    def due(self, waiting: int) -> bool:
        """Whether it should be checked now that `waiting` requests wait on it; once asked, until it is heard."""
        if self._asked_at is not None:
            return True
        return waiting > 0 and self._clock() - self._heard_at >= self.silent_s / 2

    def asked(self) -> None:
        """A check is on its way."""
        if self._asked_at is None:
            self._asked_at = self._clock()
            self.changed()

    @property
    def silent_from(self) -> float | None:
        """When it will have been silent for too long; None: it is not waited for."""
        return None if self._asked_at is None or not self.silent_s else self._asked_at + self.silent_s

    def silent(self) -> bool:
        """Whether a check has been unanswered for `silent_s`."""
        if self._asked_at is None or not self.silent_s:
            return False
        return self._clock() - self._asked_at >= self.silent_s
