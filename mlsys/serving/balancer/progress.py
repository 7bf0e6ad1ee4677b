"""Does it get on? A replica may pass every health check and answer no question: its engine hangs.

How long one answer takes does not tell, for answers differ. But a replica on which requests wait answers somebody
within the time that answers usually take. One that has answered nobody for `factor` times the 95th percentile of the
last answers is doubted, provided that another replica is not in the same state: where all are late, it is the load.
A doubted replica gets no requests, those that wait on it are asked elsewhere too, and any answer clears it. It is sent
a real question to give it the chance (`mlsys.serving.balancer.checks`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mlsys.serving.request import Clock

KEPT = 256  # answers from which the usual time is taken
LEAST = 20  # fewer say nothing
ANEW = 16  # answers after which it is taken anew
SHARE = 0.95
LEAST_S = 0.1  # a shorter wait is no sign: events are late by as much on a busy machine


class Pace:
    """How long answers usually take, whoever gives them. `factor` 0: nobody is ever late."""

    def __init__(self, factor: float) -> None:
        self._factor, self._new = factor, 0
        self._last: deque[float] = deque(maxlen=KEPT)
        self.limit_s: float | None = None  # who has answered nobody for so long while others wait is late

    def answered(self, seconds: float) -> None:
        """One answer took so long."""
        self._last.append(seconds)
        self._new += 1
        if self._factor and len(self._last) >= LEAST and (self.limit_s is None or self._new >= ANEW):
            usual_s = sorted(self._last)[int(SHARE * (len(self._last) - 1))]
            self.limit_s, self._new = max(self._factor * usual_s, LEAST_S), 0


def _nobody() -> None:
    """Nobody is told."""


class Progress:
    """One replica's. `changed` is called when it is doubted, and when it no longer is."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._since = clock, clock()
        self._doubted = False
        self.changed: Callable[[], None] = _nobody

    @property
    def doubted(self) -> bool:
        """Whether it is to get no requests."""
        return self._doubted

    @doubted.setter
    def doubted(self, doubted: bool) -> None:
        if doubted != self._doubted:
            self._doubted = doubted
            self.changed()

    def begun(self) -> None:
        """A request waits on it, and none did before."""
        self._since = self._clock()

    def heard(self) -> None:
        """It has answered somebody, or gone on with an answer."""
        self._since, self.doubted = self._clock(), False

    def waited_s(self) -> float:
        """How long those that wait on it have seen nothing come."""
        return self._clock() - self._since
