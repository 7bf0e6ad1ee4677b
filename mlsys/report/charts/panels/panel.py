"""What one plot shows, whoever draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["line", "bars", "stack", "histogram", "parallel", "distribution", "timeline"]


@dataclass(frozen=True)
class Panel:
    """What one plot shows.

    `x`, `y`, `color` and `limit` are keys of `mlsys.report.rows` (`config.` keys, result and level names); a
    `y` may hold a `*`, for which `members` stand where names must be given beforehand (W&B). Points of the same
    `color` value share a colour; whatever else differs between runs is told apart by line and marker. `limit` names
    results that are drawn as a dashed line: what the machine or the engine can do at best. `above` explains
    a figure beyond that limit, where one is drawn. `needs`: a key without which the panel would say nothing new.
    """

    name: str
    workload: str
    title: str
    about: str
    kind: Kind
    x: str
    y: tuple[str, ...]
    color: str
    unit: str
    limit: tuple[str, ...] = ()
    log_x: bool = False
    log_y: bool = False
    reference: float | None = None
    members: tuple[str, ...] = ()
    above: str = ""
    needs: str = ""
