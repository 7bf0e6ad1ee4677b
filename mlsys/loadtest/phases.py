"""Which requests count: warm-up, measured, and those that keep the load up until these are answered."""

from __future__ import annotations

import math

WARMUP, MEASURED, COOLDOWN = "warmup", "measured", "cooldown"


class Phases:
    """Says of each request, in the order of sending, what it is; knows nothing of clocks or sockets.

    Warm-up passes into measurement without a pause. With `keep_load` (a closed loop) requests go on after the
    last measured one until all measured ones are answered, so that the last meets the same load as the first.
    """

    def __init__(self, warmup: int, requests: int | None, duration_s: float | None, keep_load: bool) -> None:
        self.warmup, self.requests, self.duration_s, self.keep_load = warmup, requests, duration_s, keep_load
        self.sent = self.measured_sent = self.measured_done = 0
        self.started_s: float | None = None
        self.over = False
        self.held = False  # keep the load up whatever has been answered

    def expected_s(self, rate_rps: float) -> float:
        """How long it takes to send everything at this rate, in s."""
        measured_s = math.inf if self.requests is None else self.requests / rate_rps
        return self.warmup / rate_rps + min(measured_s, self.duration_s or math.inf)

    def next(self, at_s: float) -> str | None:
        """What a request that is due at `at_s` would be; None when no more are to be sent."""
        if self.sent < self.warmup:
            return WARMUP
        self.over = self._over(at_s)
        if not self.over:
            return MEASURED
        return COOLDOWN if self.keep_load and (self.held or not self.measured) else None

    @property
    def measured(self) -> bool:
        """Whether all measured requests have been sent and answered."""
        return self.over and self.measured_done >= self.measured_sent

    def send(self, phase: str, at_s: float) -> None:
        """Take note of a request of this phase."""
        self.sent += 1
        if phase == MEASURED:
            self.measured_sent += 1
            self.started_s = at_s if self.started_s is None else self.started_s

    def done(self, phase: str) -> None:
        """Take note of an answer (or the lack of one) to a request of this phase."""
        self.measured_done += phase == MEASURED

    def _over(self, at_s: float) -> bool:
        if self.requests is not None and self.measured_sent >= self.requests:
            return True
        return (
            self.duration_s is not None
            and self.started_s is not None
            and at_s >= self.started_s + self.duration_s
        )
