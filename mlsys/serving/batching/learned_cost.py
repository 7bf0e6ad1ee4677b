"""What a batch of b takes, learned from the batches that a worker has just run, and never hoped to be less.

For each size the median of the last times is kept, and α·b + τ0 is fitted to the medians (`mlsys.theory.cost`). Batches
do not all take what the fit says, so what nine of ten stay below is what counts. A batch larger than any seen is taken
to cost in proportion: batching can only be cheaper than that, and so sizes grow by steps that are safe.
"""

from __future__ import annotations

from collections import deque
from statistics import median

from mlsys.theory.cost import Cost, fit

KEPT = 15  # times of each size
RECENT = 100  # batches, to say how far they lie from the fit
FEWEST = 10
HELD = 0.9  # of batches take no longer


class LearnedCost:
    """`given`: seconds of each request and of each batch; None: learned, and 0 before there was any batch."""

    def __init__(self, given: tuple[float, float] | None = None) -> None:
        self._cost = None if given is None else Cost(*given)
        self._learns, self._above, self._largest = given is None, 1.0, 0
        self._times: dict[int, deque[float]] = {}
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)

    def __call__(self, size: int) -> float:
        """Seconds that a batch of `size` stays below, as a rule."""
        if self._cost is None:
            return 0.0
        if not self._learns or size <= self._largest:
            return self._above * self._cost(size)
        return self._above * self._cost(self._largest) * size / self._largest

    def took(self, size: int, seconds: float) -> None:
        """A batch of `size` took so long."""
        if not self._learns or seconds <= 0:
            return
        self._largest = max(self._largest, size)
        self._times.setdefault(size, deque(maxlen=KEPT)).append(seconds)
        self._recent.append((size, seconds))
        sizes = list(self._times)
        medians = [median(self._times[one]) for one in sizes]
        self._cost = fit(sizes, medians, [len(self._times[one]) for one in sizes]).cost
        if len(self._recent) >= FEWEST:
            ratios = sorted(seconds / self._cost(size) for size, seconds in self._recent)
            self._above = max(1.0, ratios[int(HELD * (len(ratios) - 1))])
