"""What the faults of a pair of runs cost on either side, in one line: counts of nothing make no ratio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlsys.compare.match import Pair
from mlsys.record import Record
from mlsys.report.rows import finite

FIGURES = {
    "fault.lost": "lost",
    "fault.refused": "refused",
    "fault.noticed_s": "s until noticed",
    "fault.whole_s": "s until whole",
    "fault.worst_second_rps": "answers in the worst second",
}


def told(pair: Pair) -> str | None:
    """`faults: A 0 lost, 0.3 s until noticed; B …`; the mean of each side's levels. None where nothing was broken."""
    sides = [_side(runs) for runs in (pair.a, pair.b)]
    if not all(sides):
        return None
    return f"faults: A {sides[0]}; B {sides[1]}"


def _side(runs: Sequence[tuple[Path, Record]]) -> str:
    levels = [level for _, record in runs for level in record.levels if level.get("fault.what")]
    words = []
    for name, word in FIGURES.items():
        values = [float(value) for level in levels if finite(value := level.get(name))]
        if values:
            words.append(f"{sum(values) / len(values):.3g} {word}")
    return ", ".join(words)
