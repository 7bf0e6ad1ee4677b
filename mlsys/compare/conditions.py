"""What besides the compared setting differs between two runs, and whether comparing them makes sense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlsys.compare.match import Pair
from mlsys.formats.foreign import tool_of
from mlsys.record import Record
from mlsys.record.knobs import Meaning, meaning, tells_work
from mlsys.report.doubts import busy
from mlsys.report.rows import HARDWARE, flatten, label


@dataclass
class Conditions:
    """`other_work`: reasons not to compare at all. `notes`: what a reader must know."""

    other_work: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(pair: Pair) -> Conditions:
    """Compare the first run of each side; every run for how busy its machine was."""
    found = Conditions()
    a, b = pair.a[0][1], pair.b[0][1]
    strangers = [(name, tool) for name, one in (("A", a), ("B", b)) if (tool := tool_of(one))]
    unknown = [
        label(key)
        for key, sides in pair.differs.items()
        if strangers and None in sides and meaning(key) is Meaning.WORK
    ]
    for key, (left, right) in pair.differs.items():
        if meaning(key) is Meaning.WORK and label(key) not in unknown:
            found.other_work.append(f"{label(key)}: {left} against {right}")
    for key in dict.fromkeys([*a.results, *b.results]):
        left, right = a.results.get(key), b.results.get(key)
        if strangers or key in pair.differs:
            continue
        if tells_work(key) and left != right and not isinstance(left, float):
            found.other_work.append(f"{key}: {left} against {right}")
    if strangers:
        found.notes += [_said_by(*stranger, unknown) for stranger in strangers]
        return found
    found.other_work += _different(_hardware(a), _hardware(b), "hardware.")
    found.notes += _different(_part(a, "versions"), _part(b, "versions"), "")
    found.notes += _different(_part(a, "git"), _part(b, "git"), "git.")
    found.notes += _different(
        {"driver": a.environment.get("driver")}, {"driver": b.environment.get("driver")}, ""
    )
    for name, runs in (("A", pair.a), ("B", pair.b)):
        found.notes += [f"{name}, {place.name}: {said}" for place, record in runs if (said := busy(record))]
    return found


def _said_by(name: str, tool: str, unknown: list[str]) -> str:
    groups = [key for key in unknown if "." not in key or key.partition(".")[0] not in unknown]
    what = ", ".join(dict.fromkeys([*groups, "hardware", "versions"]))
    return f"{name} is {tool}'s result, which counts latency from sending; unknown: {what}"


def _hardware(record: Record) -> dict[str, Any]:
    return {key: value for key, value in _part(record, "hardware").items() if key in HARDWARE}


def _part(record: Record, name: str) -> dict[str, Any]:
    part = record.environment.get(name)
    return flatten(part) if isinstance(part, Mapping) else {}


def _different(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str) -> list[str]:
    keys = dict.fromkeys([*a, *b])
    return [f"{prefix}{key}: {a.get(key)} against {b.get(key)}" for key in keys if a.get(key) != b.get(key)]
