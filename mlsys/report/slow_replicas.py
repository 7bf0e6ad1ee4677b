"""Which replica of a balanced service answers far later than the others: it can hold the whole service back.

Pure: a level's figures in, names and ratios out. A replica is slow where three quarters of its answers took more than
`SLOWER` times the others' median. Equal replicas with exponential latencies, which are spread widely, give a false
alarm in 1.8 % of levels with 10 answers from each of three, in 0.05 % with 20.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mlsys.report.rows import finite

SLOWER = 2.0
LEAST_ANSWERS = 10
PREFIX, COUNT = "replica.", ".requests"


def outliers(level: Mapping[str, Any]) -> dict[str, float]:
    """Each replica that is slow at this level, and its median latency over the median of the others' medians."""
    figures = _figures(level)
    found = {}
    for name, (p25, p50) in figures.items():
        others = [median for other, (_, median) in figures.items() if other != name]
        usual = statistics.median(others) if others else 0.0
        if usual > 0 and p25 >= SLOWER * usual:
            found[name] = p50 / usual
    return found


def warnings(levels: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence for each replica that is slow at some level, with the largest ratio."""
    worst: dict[str, float] = {}
    for level in levels:
        for name, ratio in outliers(level).items():
            worst[name] = max(ratio, worst.get(name, 0.0))
    return [f"{name} takes {ratio:.3g} times as long as the other replicas" for name, ratio in worst.items()]


def _figures(level: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The lower quartile and the median in ms of the replicas that gave enough answers."""
    found = {}
    for key, answers in level.items():
        name = key.removeprefix(PREFIX).removesuffix(COUNT)
        if key != PREFIX + name + COUNT or not finite(answers) or answers < LEAST_ANSWERS:
            continue
        p25, p50 = (level.get(f"{PREFIX}{name}.e2e_ms.{part}") for part in ("p25", "p50"))
        if finite(p25) and finite(p50):
            found[name] = (p25, p50)
    return found
