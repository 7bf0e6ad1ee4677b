"""What runs are called: by what differs between those shown together, in the same words in every place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlsys.record.knobs import is_care
from mlsys.report.rows import (
    CONFIG,
    MEASURED,
    WORKLOADS,
    Row,
    Runs,
    each_record,
    is_number,
    label,
    rows,
    several,
    varying,
)

AXES = (
    "config.n",
    "config.search.queries",
    *(f"config.pairs.{name}" for name in ("rows", "dim")),
    *(f"config.cdist.{name}" for name in ("queries", "rows", "dim")),
)
LEAD = {
    "distance": "config.metric.name",
    "search": "config.metric.name",
    "pairs": "config.metric.name",
    "cdist": "config.metric.name",
    "serving": "config.server.name",
}
SPEAKING = {
    "reduction",
    "machine",
    "source",
    "device",
    "config.dtype",
    "config.generator.dtype",
    "config.search.storage",
    "config.pairs.storage",
    "config.cdist.storage",
}
OF_SERVERS = ("config.batching.", "config.balancer.", "config.scheduling.")  # mean nothing to other servers
SHORT_DIRECTORY = 24


def short(value: float) -> str:
    """A number as it stands in a name: `1e6`, `0.5`, `32`."""
    return f"{value:.4g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


@dataclass(frozen=True)
class Names:
    """The words for the runs of one workload. `lead` (server, metric) comes first and is never left out.

    Settings of a speaking name (a generator, a dtype) are named wherever they differ. Knobs (`max_size=8`) are named
    only where runs of the same lead differ in them, and only as many as it takes to tell those runs apart.
    """

    lead: str
    keys: tuple[str, ...]
    told: dict[str, tuple[str, ...]]
    axes: tuple[str, ...]
    _made: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Sequence[Row]) -> Names:
        """The names in `table`, all of one workload. What failed and has no figures names nothing."""
        table = list(table)
        told = [row for row in table if row["status"] == "ok" or row["level"] is not None] or table
        told = each_record(told)
        lead = LEAD.get(told[0]["workload"], "") if told else ""
        different = varying(told)
        keys = [key for key in different if key not in AXES and not is_care(key.removeprefix(CONFIG))]
        if "config.reduction.name" in keys or several(told, "reduction"):
            keys = [key for key in keys if key != "config.reduction.name"] + ["reduction"]
        keys = [key for key in keys if key != "config.device" or not any("device" in row for row in told)]
        keys += [key for key in ("machine", "device", "source") if several(told, key)]
        keys = sorted(keys, key=lambda key: key != lead)
        groups: dict[str, list[Row]] = {}
        for row in told:
            groups.setdefault(str(row.get(lead)), []).append(row)
        chosen = {name: _telling(rows, keys) for name, rows in groups.items()}
        used = tuple(key for key in keys if any(key in telling for telling in chosen.values()))
        return cls(lead, used, chosen, tuple(key for key in AXES if key in different))

    def name(self, row: Row) -> str:
        """What tells this row's run from others: `l2 · single_pass`, `batch · max_size=8`; empty for a lone run."""
        record = row.get("record")
        if record is not None and record in self._made:
            return self._made[record]
        made = " · ".join(word for word in self.words(row) if word)
        if record is not None:
            self._made[record] = made
        return made

    def words(self, row: Row) -> list[str]:
        """The words of the row's name, one for each of `keys`; empty where that key does not name it."""
        told = self.told.get(str(row.get(self.lead)), self.keys)
        return [
            self.word(key, row[key]) if key in told and row.get(key) not in {None, MEASURED} else ""
            for key in self.keys
        ]

    def full(self, row: Row) -> str:
        """The name, or for a lone run the server or metric it is about."""
        return self.name(row) or str(row.get(self.lead) or row.get("run", ""))

    def title(self, row: Row) -> str:
        """The name with the size it was measured at, where sizes differ; empty where nothing does."""
        sizes = [
            f"{label(key).rpartition('.')[2]}={short(row[key])}"
            for key in self.axes
            if is_number(row.get(key))
        ]
        return " · ".join(word for word in (self.name(row), *sizes) if word)

    def repeats(self, table: Sequence[Row]) -> dict[int, str]:
        """For records that share a title, by record: their directories where they are short, else their numbers."""
        same: dict[str, list[Row]] = {}
        for row in each_record(table):
            if row.get("record") is not None:
                same.setdefault(self.title(row), []).append(row)
        found: dict[int, str] = {}
        for group in same.values():
            directories = _differing([str(row["run"]) for row in group])
            brief = max(map(len, directories)) <= SHORT_DIRECTORY
            for count, row in enumerate(group if len(group) > 1 else [], 1):
                found[row["record"]] = directories[count - 1] if brief else f"run {count}"
        return found

    def word(self, key: str, value: Any) -> str:
        """A key and its value as they stand in a name: the bare value where that explains itself."""
        if isinstance(value, str) and speaks(key):
            return value
        heading = label(key).rpartition(".")[2]
        if sum(label(other).rpartition(".")[2] == heading for other in self.keys) > 1:
            heading = label(key)
        if isinstance(value, bool):
            value = "yes" if value else "no"
        return f"{heading}={short(value)}" if is_number(value) else f"{heading}={value}"


def speaks(key: str) -> bool:
    """Whether a value of this key explains itself without its key."""
    return key.endswith(".name") or key in SPEAKING


def _telling(rows: Sequence[Row], keys: Sequence[str]) -> tuple[str, ...]:
    """The keys that name these rows: from the last, each knob goes that can without two runs becoming one."""
    always = [key for key in keys if speaks(key) and not key.startswith(OF_SERVERS)]
    kept = [key for key in keys if key in always or several(rows, key)]
    whole = _distinct(rows, kept)
    for key in reversed(kept):
        fewer = [other for other in kept if other != key]
        if (not speaks(key) or key == "device") and _distinct(rows, fewer) == whole:
            kept = fewer
    return tuple(kept)


def _distinct(rows: Sequence[Row], keys: Sequence[str]) -> int:
    return len({tuple(str(row.get(key)) for key in keys) for row in rows})


def _differing(paths: Sequence[str]) -> list[str]:
    """The paths without the parts at either end that all have in common."""
    parts = [path.split("/") for path in paths]
    for end in (0, -1):
        while all(len(part) > 1 and part[end] == parts[0][end] for part in parts):
            for part in parts:
                del part[end]
    return ["/".join(part) for part in parts]


def by_workload(runs: Runs, published: Sequence[Row] = ()) -> dict[str, list[Row]]:
    """The rows under their workloads, in the order distance, search, serving, whatever else.

    Added: `repeat`, what tells a record from others of the same configuration, where there are any.
    """
    found: dict[str, list[Row]] = {name: [] for name in WORKLOADS}
    for row in (*rows(runs), *published):
        found.setdefault(row["workload"], []).append(row)
    for table in found.values():
        apart = Names.of(table).repeats(table)
        for row in table:
            if row["record"] in apart:
                row["repeat"] = apart[row["record"]]
    return {name: table for name, table in found.items() if table}


def titles(sections: Mapping[str, Sequence[Row]]) -> dict[int, str]:
    """Each record's name on a page of these sections; repeats of one configuration are told apart as well."""
    found: dict[int, str] = {}
    for workload, table in sections.items():
        measured = each_record([row for row in table if row["record"] is not None])
        if not measured:
            continue
        names = Names.of(table)
        prefix = f"{workload}: " if len(sections) > 1 else ""
        for row in measured:
            title, told = names.title(row) or names.full(row), row.get("repeat")
            found[row["record"]] = prefix + (f"{title} ({told})" if told else title)
    return found
