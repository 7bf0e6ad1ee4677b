"""What the panels of a section share: its rows, how runs are named in it, their places in the palette."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlsys.sinks.rows import CONFIG, MEASURED, Row, is_number, label, varying

Figure = dict[str, Any]

LIGHT = ("#2a78d6", "#eb6834", "#1baf7a", "#4a3aa7", "#eda100", "#e87ba4", "#008300", "#e34948")
DARK = ("#3987e5", "#d95926", "#199e70", "#9085e9", "#c98500", "#d55181", "#4caf50", "#e66767")
GREY = "#808080"
AXES = {"config.n", "config.search.queries"}
# With how much care something was measured, not what: such runs are repeats of each other.
CARE = tuple(
    CONFIG + name
    for name in (
        "baselines",
        "repeats",
        "warmup",
        "time_limit_s",
        "seed",
        "compare.",
        "loadtest.requests",
        "loadtest.repeats",
        "loadtest.warmup",
        "loadtest.duration",
        "loadtest.quality",
        "loadtest.engine",
        "search.peers",
        "search.reference_queries",
    )
)
LIMIT_SLOT, OWN_COLORS = -1, -2
SPEAKING = {"reduction", "machine", "source", "device", "config.dtype", "config.generator.dtype"}


@dataclass(frozen=True)
class Drawing:
    """What all panels of one section share: its rows and which of their keys tell runs apart."""

    table: Sequence[Row]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, table: Sequence[Row]) -> Drawing:
        """The drawing of `table`, all of one workload. What failed and has no figures names nothing."""
        told = [row for row in table if row["status"] == "ok" or row["level"] is not None] or table
        keys = [key for key in varying(told) if key not in AXES and not key.startswith(CARE)]
        if "config.reduction.name" in keys or several(told, "reduction"):
            keys = [key for key in keys if key != "config.reduction.name"] + ["reduction"]
        more = [key for key in ("machine", "device", "source") if several(told, key)]
        keys += [key for key in more if f"{CONFIG}{key}" not in keys]
        return cls(table, tuple(keys))

    def name(self, row: Row) -> str:
        """What tells this row's run from others: `l2 · single_pass`, `batch · batching.max_size=8`."""
        told = [key for key in self.keys if row.get(key) not in {None, MEASURED}]
        return " · ".join(self.word(key, row[key]) for key in told)

    def word(self, key: str, value: Any) -> str:
        """A key and its value as they stand in a name: the bare value where that explains itself."""
        if isinstance(value, str) and (key.endswith(".name") or key in SPEAKING):
            return value
        short = label(key).rpartition(".")[2]
        if sum(label(other).rpartition(".")[2] == short for other in self.keys) > 1:
            short = label(key)
        return f"{short}={value:g}" if is_number(value) else f"{short}={value}"

    def slot(self, row: Row, color: str) -> int:
        """The place in the palette that this row has in every panel: by `color`, or where all share it by name."""
        if several(self.table, color):
            values = list(dict.fromkeys(str(entry.get(color)) for entry in self.table))
            return values.index(str(row.get(color)))
        return list(dict.fromkeys(self.name(entry) for entry in self.table)).index(self.name(row))


def escape(words: object) -> str:
    """Plotly reads a little HTML in its texts: what came from a record must not be read as such."""
    return str(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def several(table: Sequence[Row], key: str) -> bool:
    """Whether the rows that have the key differ in it."""
    return len({str(row[key]) for row in table if row.get(key) is not None}) > 1
