"""May a request enter? Decided before any work is done for it, with an honest word on when to come back."""

from __future__ import annotations

import math

from mlsys.serving.request import Refused

SMOOTHING = 0.2


class Admission:
    """A bound on how many requests wait, and an estimate of how long they take."""

    def __init__(self, max_queue: int, workers: int = 1) -> None:
        self.max_queue, self.workers = max_queue, workers
        self.seconds_per_request: float | None = None

    def served(self, count: int, seconds: float) -> None:
        """A worker took `seconds` for `count` requests."""
        if count < 1:
            return
        each = seconds / count / self.workers
        known = self.seconds_per_request
        self.seconds_per_request = each if known is None else known + SMOOTHING * (each - known)

    def retry_after_s(self, waiting: int) -> int:
        """Whole seconds until those waiting now will have been served, at least 1."""
        return max(1, math.ceil(waiting * (self.seconds_per_request or 0.0)))

    def admit(self, waiting: int) -> None:
        """Raise Refused if `waiting` requests already fill the queue."""
        if waiting >= self.max_queue:
            raise Refused(
                f"the queue is full: {waiting} of server.max_queue={self.max_queue} requests wait",
                self.retry_after_s(waiting),
            )
