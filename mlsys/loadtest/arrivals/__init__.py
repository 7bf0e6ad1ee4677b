"""When requests are sent: pure processes that are told the time and how many requests are in flight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol

from mlsys import signatures
from mlsys.loadtest.questions import Questions
from mlsys.record import Scalar

DEFAULT_REQUESTS = 60


class ArrivalProcess(Protocol):
    """One level's arrivals, from its start at 0 s on."""

    open_loop: bool

    def due_s(self, now_s: float, in_flight: int) -> float | None:
        """When the next request is due. None: not before another one has been answered; inf: there is no other."""
        ...

    def sent(self) -> None:
        """The request that was due has been sent: the next call of `due_s` is about the one after it."""
        ...


Done = Sequence[tuple[float, Mapping[str, Any]]]


class Script(Protocol):
    """What arrivals tell of each request beside its time.

    `makes_text`: it brings the questions itself. `longest_answer`: in tokens. `about`: a line for the user.
    """

    makes_text: bool
    longest_answer: int | None
    about: str

    def longest_query(self, seed: int) -> int:
        """The characters of the longest question that it brings."""
        ...

    def questions(self, others: Questions, seed: int) -> Questions:
        """What is asked; `others`: what the load would have asked."""
        ...


class Arrivals(Protocol):
    """A kind of arrivals with its load levels.

    `needs_slo`: it cannot do without `loadtest.slo_ms`, and begins only where a lone request meets it.
    `max_total_s`: no level begins that would not end within this time from the start; None: all begin.
    `default_requests`: how many are measured where the user names neither number nor time; None: all that come.
    `script`: None where they say nothing but times. `tried`: how many levels came before.
    """

    name: str
    needs_slo: bool
    max_total_s: float | None
    default_requests: int | None
    script: Script | None
    tried: int

    def next_level(self, done: Done) -> float | None:
        """The level to measure after those `done` (with their results); None: enough."""
        ...

    def conclusion(self, done: Done) -> dict[str, Scalar]:
        """What all levels together say."""
        ...

    def describe(self, level: float) -> dict[str, float]:
        """The level as the record names it: `concurrency` or `offered_rate_rps`."""
        ...

    def warmup(self, level: float, measured: int | None) -> int:
        """How many requests come before the measured ones, unless the user says."""
        ...

    def process(self, level: float, seed: int) -> ArrivalProcess:
        """The arrivals of one level."""
        ...


class Listed:
    """Levels that are known beforehand, measured in their order."""

    needs_slo = False
    max_total_s: float | None = None
    default_requests: int | None = DEFAULT_REQUESTS
    script: Script | None = None
    tried = 0
    levels: Sequence[float]

    def next_level(self, done: Done) -> float | None:
        """The next of the list."""
        return self.levels[len(done)] if len(done) < len(self.levels) else None

    def conclusion(self, done: Done) -> dict[str, Scalar]:
        """Nothing beyond the levels."""
        return {}


class OpenLoop:
    """Requests at intended times, whatever the answers. `gaps` gives the time to each next one, in s."""

    open_loop = True

    def __init__(self, gaps: Iterable[float]) -> None:
        self._times: Iterator[float] = accumulate(gaps)
        self.sent()

    @classmethod
    def at(cls, times: Iterable[float]) -> OpenLoop:
        """Requests at these times, in s, which do not fall."""
        made = cls(())
        made._times = iter(times)
        made.sent()
        return made

    def due_s(self, now_s: float, in_flight: int) -> float | None:
        """The intended time of the next request, whatever became of the earlier ones; inf after the last."""
        return self._due_s

    def sent(self) -> None:
        """Go on to the next."""
        self._due_s = next(self._times, math.inf)


def open_loop_warmup(measured: int | None) -> int:
    """A tenth of what is measured, at least 5."""
    return max(5, (measured or 0) // 10)


def make(section: Mapping[str, Any]) -> Arrivals:
    """The arrivals that a configuration names with `_target_`. Raises UserError for bad values."""
    return signatures.make("loadtest", section)  # type: ignore[no-any-return]
