"""The stretch of time in which a level's answers are counted, and how many requests were in flight in it.

Pure: rows in, numbers out. A rate is only as good as its window: one that opens or closes in the midst of a batch
counts answers for which it has no time, or time for which it has no answers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlsys.loadtest.phases import MEASURED
from mlsys.loadtest.rows import OK, Row

TOGETHER = 0.1  # of the mean gap between answers: closer ones are of one batch


@dataclass(frozen=True)
class Window:
    """The time in which answers are counted for the throughput: from `start_s` (exclusive) to `end_s`."""

    start_s: float
    end_s: float
    answers: int

    @property
    def rate_rps(self) -> float:
        """Answers a second."""
        return self.answers / max(self.end_s - self.start_s, 1e-9)


def window(rows: Sequence[Row]) -> Window:
    """From the first measured request to the last measured answer, at the ends of batches.

    Answers of warm-up and cool-down requests that fall into it count: the service gave them in that time. A
    batch's answers come together, so a window that opened or closed in their midst would be off by up to one
    batch; each end is moved behind the last answer that follows the one before in a tenth of the mean gap. Clients of a
    closed loop often go in step, their answers spread over several such gaps: there the window holds as many answers
    for each client, so that it closes where in their round it opened.
    """
    measured = [row for row in rows if row.phase == MEASURED]
    start_s, end_s = min(row.intended_s for row in measured), max(row.done_s for row in measured)
    times = sorted(row.done_s for row in rows if row.outcome == OK)
    first, last = bisect_right(times, start_s), bisect_right(times, end_s)
    together_s = TOGETHER * (end_s - start_s) / max(last - first, 1)
    opens, closes = (_end_of_batch(times, count, together_s) for count in (first, last))
    clients = measured[0].concurrency
    if clients and closes - opens >= clients:
        closes -= (closes - opens) % clients
    if opens < closes:
        return Window(times[opens - 1] if opens else start_s, times[closes - 1], closes - opens)
    return Window(start_s, end_s, last - first)


def _end_of_batch(times: Sequence[float], count: int, together_s: float) -> int:
    while 0 < count < len(times) and times[count] - times[count - 1] < together_s:
        count += 1
    return count


def mean_in_flight(rows: Iterable[Row], start_s: float, end_s: float) -> float:
    """Requests in flight on average over the time from `start_s` to `end_s`, for Little's law."""
    inside = sum(max(0.0, min(row.done_s, end_s) - max(row.intended_s, start_s)) for row in rows)
    return inside / max(end_s - start_s, 1e-9)
