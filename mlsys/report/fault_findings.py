"""What was broken in words, for how long, and what it cost: the first thing that a page of such runs says."""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.report.names import Names
from mlsys.report.rows import Row, finite
from mlsys.report.table import text

MOST = 12


def summary(rows: Sequence[Row], names: Names) -> list[str]:
    """A sentence a level that met a fault."""
    said = [_sentence(row, names) for row in rows if row.get("fault.what")]
    return said[:MOST] + ([f"{len(said) - MOST} more levels met a fault."] if len(said) > MOST else [])


def _sentence(row: Row, names: Names) -> str:
    lasted = row.get("fault.lasted_s")
    for_s = f" for {text(lasted)} s" if finite(lasted) and lasted >= 0.05 else ""
    lost, refused = (row.get(f"fault.{name}") or 0 for name in ("lost", "refused"))
    of = f" of {row['requests']:g}" if finite(row.get("requests")) else ""
    cost = f"{lost:g}{of} requests were lost" if lost else "no request was lost"
    cost += f", {refused:g} refused" if refused else ""
    return f"{names.full(row)}: {row['fault.what']}{for_s}; {cost}, {_noticed(row)}{_whole(row)}."


def _noticed(row: Row) -> str:
    if finite(row.get("fault.noticed_s")):
        return f"noticed after {text(row['fault.noticed_s'])} s"
    return "and nothing took notice"


def _whole(row: Row) -> str:
    whole = row.get("fault.whole_s")
    if not finite(whole):
        return ", not whole again"
    return f", whole again {text(whole)} s later" if whole >= 0.05 else ", whole again at once"
