"""`compare.interleave=true`: the jobs of a sweep are measured in turn, round after round.

A machine drifts: it warms up, other work comes and goes. Measured one after the other, the variants of a sweep each
meet another machine; in turn they meet the same. Hydra's jobs are only collected while it goes through the sweep;
when it has been through, each round measures every job once, and each record takes the median of its rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mlsys.record import Level, Results, Scalar, Workload

Part = Results | Level
_deferred: list[Callable[[], bool]] = []


def defer(measure: Callable[[], bool]) -> None:
    """Keep a job for the rounds. `measure()` measures one round and returns whether the job wants another."""
    _deferred.append(measure)


def run() -> None:
    """Measure what was deferred, in turn, until no job wants a further round."""
    jobs = list(_deferred)
    _deferred.clear()
    while jobs:
        jobs = [job for job in jobs if job()]


@dataclass
class Rounds:
    """The parts of one job's rounds and what they come to."""

    wanted: int
    done: list[list[Part]] = field(default_factory=list)

    @property
    def last(self) -> bool:
        """Whether the round that comes next is the last."""
        return len(self.done) + 1 >= self.wanted

    def measure(self, workload: Workload, restart: Callable[[], None]) -> Iterator[Part]:
        """One more round. The first yields its parts as they come; a later one, once it is through, calls `restart`
        and yields the parts of all rounds merged."""
        parts: list[Part] = []
        for part in workload.measure():
            parts.append(part)
            if not self.done:
                yield part
        self.done.append(parts)
        if len(self.done) > 1:
            restart()
            for together in zip(*self.done, strict=True):
                yield merge(together)


def merge(parts: Sequence[Part]) -> Part:
    """Medians of what are measurements, the last of what are names; samples of all rounds, one after the other."""
    last = parts[-1]
    values = {name: _middle([part.values.get(name) for part in parts]) for name in last.values}
    samples = {name: list(_chain(part.samples.get(name, ()) for part in parts)) for name in last.samples}
    return type(last)(values, samples)


def _middle(values: Sequence[Scalar]) -> Scalar:
    if all(isinstance(value, float) for value in values):
        return statistics.median(value for value in values if isinstance(value, float))
    return values[-1]


def _chain(rows: Iterable[Sequence[float]]) -> Iterator[float]:
    for row in rows:
        yield from row
