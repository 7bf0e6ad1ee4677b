"""A pair of runs becomes lines: A, B, ratio, interval, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlsys.compare import figures, noise
from mlsys.compare.match import Pair
from mlsys.compare.noise import Interval, Run
from mlsys.loadtest.agreement import compare_answers
from mlsys.record import Record
from mlsys.report.doubts import busy

WORDS = {True: {"higher": "faster", "lower": "slower"}, False: {"higher": "slower", "lower": "faster"}}


@dataclass(frozen=True)
class Line:
    """One figure of one pair at one load."""

    pair: int
    name: str
    load: float | None
    metric: str
    a: float
    b: float
    interval: Interval
    runs: tuple[int, int]

    @property
    def verdict(self) -> str:
        """`faster`, `slower` or `no detectable difference`, of B against A."""
        said = self.interval.verdict
        return (
            said if said == "no detectable difference" else WORDS[figures.higher_is_better(self.metric)][said]
        )

    @property
    def slowdown(self) -> float:
        """How much worse B is, as a share of A: 0.1 is 10 % more time, or 1/1.1 of the rate."""
        ratio = self.interval.ratio
        return (1 / ratio if figures.higher_is_better(self.metric) else ratio) - 1


@dataclass(frozen=True)
class Options:
    """`floor`: noise between runs of a quiet machine (0.02: 2 %). `confidence`: of the report as a whole."""

    metrics: tuple[str, ...] = ()
    floor: float = 0.02
    confidence: float = 0.95


def lines(pairs: Sequence[Pair], names: Sequence[str], options: Options) -> list[Line]:
    """All lines of the report; intervals are widened so that all together keep the confidence."""
    wanted = [
        (index, load, metric)
        for index, pair in enumerate(pairs)
        for load in _common_loads(pair)
        for metric in options.metrics or figures.DEFAULTS.get(pair.a[0][1].workload, ["latency_ms"])
    ]
    measured = [
        (entry, data) for entry in wanted if (data := _data(pairs[entry[0]], entry[2], entry[1])) is not None
    ]
    confidence = 1 - (1 - options.confidence) / max(len(measured), 1)
    return [
        _line(pairs[index], index, names[index], load, metric, data, options.floor, confidence)
        for (index, load, metric), data in measured
    ]


def _common_loads(pair: Pair) -> list[float | None]:
    per_run = [figures.loads(record) for _, record in (*pair.a, *pair.b)]
    return [load for load in per_run[0] if all(load in other for other in per_run)]


def _data(pair: Pair, metric: str, load: float | None) -> tuple[list[Run], list[Run]] | None:
    sides = []
    for runs in (pair.a, pair.b):
        found = [figures.run(place, record, metric, load) for place, record in runs]
        sides.append([run for run in found if run is not None])
    return (sides[0], sides[1]) if all(sides) else None


def _line(
    pair: Pair,
    index: int,
    name: str,
    load: float | None,
    metric: str,
    data: tuple[list[Run], list[Run]],
    floor: float,
    confidence: float,
) -> Line:
    a, b = data
    floor *= _noisier(pair, metric)
    in_turn = _in_turn(pair, metric, load)
    if in_turn:
        interval = noise.compare_in_turn(*in_turn, floor, confidence)
    else:
        control = figures.controls([record for _, record in pair.a], [record for _, record in pair.b])
        interval = noise.compare(a, b, floor, control, confidence)
    shown = [_stated(runs, metric, load) for runs in (pair.a, pair.b)]
    return Line(index, name, load, metric, shown[0], shown[1], interval, (len(a), len(b)))


def _noisier(pair: Pair, metric: str) -> float:
    """How many times the noise floor to take: tails vary more than medians, a busy machine more than a quiet one."""
    tail = {"p90": 2, "p95": 2, "p99": 3, "max": 4}.get(metric.rpartition(".")[2], 1)
    return tail * (2 if any(busy(record) for _, record in (*pair.a, *pair.b)) else 1)


def _in_turn(pair: Pair, metric: str, load: float | None) -> tuple[list[Run], list[Run]] | None:
    """The rounds of both sides where they are jobs of one sweep that was measured in turn."""
    if len(pair.a) != 1 or len(pair.b) != 1 or pair.a[0][0].resolve().parent != pair.b[0][0].resolve().parent:
        return None
    a, b = (figures.rounds(*runs[0], metric, load) for runs in (pair.a, pair.b))
    return (a, b) if a and b and len(a) == len(b) else None


def _stated(runs: Sequence[tuple[Path, Record]], metric: str, load: float | None) -> float:
    values = [v for _, record in runs if (v := figures.value(record, metric, load)) is not None]
    return sum(values) / len(values) if values else float("nan")


def answers(pair: Pair) -> str | None:
    """Whether both sides gave the same answers, where they must (float32); None where nothing can be said."""
    dtypes = {str((record.config.get("generator") or {}).get("dtype")) for _, record in (*pair.a, *pair.b)}
    places = [place for place, _ in (*pair.a, *pair.b)]
    if dtypes != {"float32"} or not all((place / figures.REQUESTS).is_file() for place in places):
        return None
    found = compare_answers(places)
    if not found.common:
        return None
    if found.equal == found.common:
        return f"answers: all {found.common} questions asked of both were answered alike"
    return (
        f"answers: {len(found.differing)} of {found.common} questions were answered differently in float32"
        f" (questions {', '.join(found.differing[:5])}{' …' if len(found.differing) > 5 else ''})"
    )
