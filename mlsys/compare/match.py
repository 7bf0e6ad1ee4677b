"""Which run of A belongs to which run of B, and what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlsys import formats
from mlsys.errors import UserError
from mlsys.record import Record, find, read
from mlsys.record.knobs import is_setting
from mlsys.report import rows
from mlsys.report.names import Names

Runs = list[tuple[Path, Record]]
Settings = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """Runs of A and of B that are one configuration but for `differs`: key to (value in A, value in B)."""

    a: Runs
    b: Runs
    common: Settings
    differs: Mapping[str, tuple[Any, Any]]


@dataclass
class Matching:
    """All pairs, the keys of which their configurations differ, and what found no partner."""

    pairs: list[Pair] = field(default_factory=list)
    alone_a: list[Path] = field(default_factory=list)
    alone_b: list[Path] = field(default_factory=list)
    not_ok: list[Path] = field(default_factory=list)


def load(path: Path) -> Runs:
    """The records in or below `path` (a record.json, a run's or a sweep's directory, another tool's results).

    Raises UserError.
    """
    if not path.exists():
        raise UserError(f"{path} is no record and no directory")
    try:
        if path.is_file():
            return formats.find(path) or [(path.parent, read(path))]
        runs = find([path]) or formats.find(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    if not runs:
        raise UserError(f"{path} holds no record.json")
    return runs


def settings(record: Record) -> Settings:
    """The flat configuration without what does not bear on what is measured. Absent and null are one."""
    return plain_settings(rows.settings(record))


def plain_settings(flat: Mapping[str, Any]) -> Settings:
    """What of a flat configuration bears on what is measured."""
    return {key: value for key, value in flat.items() if is_setting(key) and value is not None}


def match(a: Runs, b: Runs) -> Matching:
    """Pair runs by configuration: the same, or the same but for keys that A and B never have in common.

    A key that takes other values throughout B than throughout A is what is being compared (server=baseline
    against server=batch); every other key must agree. Runs of one configuration are repeats of each other.
    """
    found = Matching()
    groups = []
    for runs in (a, b):
        found.not_ok += [place for place, record in runs if record.status != "ok"]
        groups.append(_grouped([(place, record) for place, record in runs if record.status == "ok"]))
    apart = _apart([settings(runs[0][1]) for runs in groups[0]], [settings(runs[0][1]) for runs in groups[1]])
    left: dict[str, list[Runs]] = {}
    right: dict[str, list[Runs]] = {}
    for side, keyed in zip(groups, (left, right), strict=True):
        for runs in side:
            keyed.setdefault(_key(runs[0][1], apart), []).append(runs)
    for key in left:
        if len(left[key]) == 1 and len(right.get(key, [])) == 1:
            found.pairs.append(_pair(left[key][0], right[key][0]))
    for keyed, other, alone in ((left, right, found.alone_a), (right, left, found.alone_b)):
        for key, several in keyed.items():
            if len(several) != 1 or len(other.get(key, [])) != 1:
                alone += [place for runs in several for place, _ in runs]
    return found


def _grouped(runs: Runs) -> list[Runs]:
    groups: dict[str, Runs] = {}
    for place, record in runs:
        groups.setdefault(str(sorted(settings(record).items(), key=str)), []).append((place, record))
    return list(groups.values())


def _apart(a: Sequence[Settings], b: Sequence[Settings]) -> set[str]:
    keys = {key for side in (a, b) for entry in side for key in entry}
    values = [{key: {str(entry.get(key)) for entry in side} for key in keys} for side in (a, b)]
    return {key for key in keys if not values[0][key] & values[1][key]}


def _key(record: Record, apart: set[str]) -> str:
    kept = {key: value for key, value in settings(record).items() if key not in apart}
    return str([record.workload, sorted(kept.items(), key=str)])


def _pair(a: Runs, b: Runs) -> Pair:
    left, right = settings(a[0][1]), settings(b[0][1])
    differs = {
        key: (left.get(key), right.get(key))
        for key in dict.fromkeys([*left, *right])
        if str(left.get(key)) != str(right.get(key))
    }
    return Pair(a, b, {key: value for key, value in left.items() if key not in differs}, differs)


def names(pairs: Sequence[Pair]) -> list[str]:
    """What tells the pairs apart, in the words of the page (`l2 · n=1e6`); `all` where there is one pair."""
    table = [
        {"workload": pair.a[0][1].workload, "status": "ok", "level": None}
        | {rows.CONFIG + key: value for key, value in pair.common.items()}
        for pair in pairs
    ]
    told = Names.of(table)
    return [told.title(row) or "all" for row in table]
