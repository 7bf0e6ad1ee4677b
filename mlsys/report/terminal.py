"""Tables for a terminal: numbers are never cut or folded. What does not fit is left out as a whole and named below."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2
FOLDED = 24
UNBOUNDED = 4000


@dataclass(frozen=True)
class Column:
    """A heading and its cells. `kept`: says what the row is, and stays whatever the width."""

    heading: str
    cells: Sequence[str]
    numeric: bool = False
    kept: bool = False
    styles: Sequence[str] = ()

    @property
    def width(self) -> int:
        """What it takes without folding."""
        return max(map(len, (self.heading, *self.cells)))

    @property
    def least(self) -> int:
        """What it takes with its heading and its texts folded, between words or where one is longer than `FOLDED`."""
        words = self.cells if self.numeric else [w for cell in self.cells for w in cell.split()]
        longest = max(map(len, words), default=0)
        heading = max(map(len, _broken(self.heading).split("\n")))
        return max(heading, longest if self.numeric else min(longest, FOLDED))


def width() -> int | None:
    """The columns of the terminal, or what `COLUMNS` says; None where the output is no terminal."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    console = Console()
    return console.width if console.is_terminal else None


def draw(
    title: str, columns: Sequence[Column], room: int | None, bad: Sequence[bool], elsewhere: str = ""
) -> str:
    """The table within `room` columns; rows that are `bad` are red on a terminal. `elsewhere`: where the rest is."""
    kept = fitting(columns, room)
    stream = io.StringIO()
    colours = Console().is_terminal
    out = Console(
        file=stream, width=max(room or UNBOUNDED, least(kept)), force_terminal=colours, highlight=False
    )
    drawn = Table(title=title or None, title_justify="left", title_style="bold" if colours else "", box=None)
    drawn.pad_edge = False
    whole = room is None or _total([column.width for column in kept]) <= room
    for column in kept:
        folded = not whole and column.width > column.least
        drawn.add_column(
            Text(_broken(column.heading) if folded else column.heading),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric or whole,
            overflow="fold",
            width=None
            if whole
            else column.least
            if column.numeric
            else _share(column, kept, room or UNBOUNDED),
        )
    for i, wrong in enumerate(bad):
        cells = (Text(column.cells[i], style=column.styles[i] if column.styles else "") for column in kept)
        drawn.add_row(*cells, style="red" if wrong and colours else "")
    out.print(drawn)
    missing = [column.heading for column in columns if column not in kept]
    if missing:
        told = f"; {elsewhere}" if elsewhere else ""
        out.print(Text(f"no room for {', '.join(missing)}{told}", style="dim" if colours else ""))
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").splitlines())


def fitting(columns: Sequence[Column], room: int | None) -> list[Column]:
    """The columns that fit, the kept ones first, then as many of the others in their order as there is room for."""
    if room is None:
        return list(columns)
    chosen = [column for column in columns if column.kept]
    for column in columns:
        if not column.kept and least((*chosen, column)) <= room:
            chosen.append(column)
        elif not column.kept:
            break
    return [column for column in columns if column in chosen]


def least(columns: Sequence[Column]) -> int:
    """What the columns take side by side, folded."""
    return _total([column.least for column in columns])


def _share(column: Column, kept: Sequence[Column], room: int) -> int:
    """A text's width: its least, and of the room that is left as much as it can use before the texts after it."""
    spare = room - least(kept)
    for one in kept:
        more = 0 if one.numeric else max(0, min(spare, one.width - one.least))
        if one is column:
            return column.least + more
        spare -= more
    return column.least


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * max(0, len(widths) - 1)


def _broken(heading: str) -> str:
    """A heading over several lines, at its dots and underscores."""
    return re.sub(r"(?<=[._])(?=.)", "\n", heading)
