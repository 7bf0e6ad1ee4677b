"""The one list of panels: the local page and the W&B workspace both draw these, from the same names."""

from __future__ import annotations

from mlsys.report.charts.panels import distance, serving
from mlsys.report.charts.panels.panel import Kind, Panel

__all__ = ["PANELS", "Kind", "Panel", "names", "of"]

PANELS: tuple[Panel, ...] = (*distance.PANELS, *serving.PANELS)


def of(workload: str) -> tuple[Panel, ...]:
    """The panels of one workload, in the order in which they are read."""
    return tuple(panel for panel in PANELS if panel.workload == workload)


def names(panel: Panel) -> list[str]:
    """The panel's `y` with members in the place of each `*`."""
    return [y.replace("*", member) for y in panel.y for member in (panel.members if "*" in y else ("",))]
