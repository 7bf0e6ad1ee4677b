"""What the panels of a section share: its rows, how runs are named in it, which colour stands for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mlsys.report.names import Names, short
from mlsys.report.rows import Row, is_number, several

Figure = dict[str, Any]

# Runs have these colours in every panel of their section.
LIGHT = ("#2a78d6", "#eb6834", "#1baf7a", "#4a3aa7", "#eda100", "#e87ba4", "#008300", "#e34948")
DARK = ("#3987e5", "#d95926", "#199e70", "#9085e9", "#c98500", "#d55181", "#4caf50", "#e66767")
GREY = "#808080"
# What a request or a batch went through has muted ones of its own, so that none is taken for a run.
PARTS_LIGHT = {
    "queue": "#c9ced6", "embed": "#6f8f7f", "retrieve": "#a9c3b4", "rerank": "#7d9a4f", "prompt": "#5d5348",
    "generate": "#8c9db5", "prefill": "#b08d57", "decode": "#9a8fb3", "respond": "#46586e", "outside": "#e6dccb",
    "full": "#5b4a63", "deadline": "#b5a3bd", "idle": "#ded5e2", "budget": "#8a6f78",
}  # fmt: skip
PARTS_DARK = {
    "queue": "#4b5058", "embed": "#7fa391", "retrieve": "#3f5549", "rerank": "#9db36f", "prompt": "#a89a8a",
    "generate": "#7186a3", "prefill": "#c9a876", "decode": "#8579a3", "respond": "#aebed3", "outside": "#5f5747",
    "full": "#b79cc4", "deadline": "#6d5a77", "idle": "#433a48", "budget": "#9b7f89",
}  # fmt: skip
LIMIT_SLOT, OWN_COLORS = -1, -2


@dataclass(frozen=True)
class Drawing:
    """What all panels of one section share: its rows, their names and the colour of each run."""

    table: Sequence[Row]
    names: Names
    _slots: dict[str, dict[str, int]] = field(default_factory=dict)
    _several: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Sequence[Row]) -> Drawing:
        """The drawing of `table`, all of one workload."""
        return cls(table, Names.of(table))

    def name(self, row: Row) -> str:
        """The run's name (`mlsys.report.names`)."""
        return self.names.full(row)

    def slot(self, row: Row, color: str) -> int:
        """The place in the palette that this row has in every panel: by `color`, or where all share it by name."""
        if color not in self._slots:
            by_color = self.several(color)
            values = (str(entry.get(color)) if by_color else self.name(entry) for entry in self.table)
            self._slots[color] = {value: slot for slot, value in enumerate(dict.fromkeys(values))}
        slots = self._slots[color]
        value = str(row.get(color))
        return slots[value] if value in slots else slots[self.name(row)]

    def several(self, key: str) -> bool:
        """Whether the rows that have the key differ in it."""
        if key not in self._several:
            self._several[key] = several(self.table, key)
        return self._several[key]

    def tail(self, key: str, row: Row) -> str:
        """What follows the name where a panel shows a run at several places of `key`: ` · at 20`, ` · n=1e6`."""
        x = row.get(key)
        if x is None or not self.several(key):
            return ""
        place = short(x) if is_number(x) else str(x)
        return f" · at {place}" if key == "load" else f" · {key}={place}"


def escape(words: object) -> str:
    """Plotly reads a little HTML in its texts: what came from a record must not be read as such."""
    return str(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
