"""What serving runs on the simulated engine say of theory: how many levels are where a form puts them, and which are
not.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.report.names import Names, short
from mlsys.report.rows import Row, finite
from mlsys.report.table import text

LIMITS = {"mean": 0.02, "p95": 0.05, "p99": 0.05}


def summary(rows: Sequence[Row]) -> list[str]:
    """Of each figure that a form gives: how many levels are within its limit, and the one that is farthest off."""
    told = [row for row in rows if row.get("theory.model") and row.get("valid") is not False]
    if not told:
        return []
    names = Names.of(rows)
    said = [_held(told, part, names) for part in LIMITS if any(_off(row, part) is not None for row in told)]
    added = [row["theory.own_ms"] for row in told if finite(row.get("theory.own_ms"))]
    if added:
        said.append(
            f"What the service adds of its own to a lone request: {text(min(added))} to {text(max(added))} ms."
        )
    return said


def _held(rows: Sequence[Row], part: str, names: Names) -> str:
    found = [(off, row) for row in rows if (off := _off(row, part)) is not None]
    held = sum(abs(off) <= LIMITS[part] for off, _ in found)
    open_ones = (
        sum(abs(off) > LIMITS[part] and _undecided(row) for off, row in found) if part == "mean" else 0
    )
    untold = f", at {open_ones} more the interval is too wide to tell" if open_ones else ""
    off, worst = max(found, key=lambda pair: abs(pair[0]))
    load = f"at {short(worst['load'])}" if finite(worst.get("load")) else ""
    return (
        f"Theory: at {held} of {len(found)} levels the {part} latency is within {100 * LIMITS[part]:g} % of "
        f"the form{untold}; farthest off {names.full(worst)} {load} ({worst['theory.model']}): {100 * off:+.2f} %."
    )


def _undecided(row: Row) -> bool:
    """Whether the interval of the mean reaches into what is within the limit."""
    low, high = row.get("theory.deviation.mean_low"), row.get("theory.deviation.mean_high")
    return finite(low) and finite(high) and low <= LIMITS["mean"] and high >= -LIMITS["mean"]


def _off(row: Row, part: str) -> float | None:
    value = row.get(f"theory.deviation.{part}")
    return float(value) if finite(value) else None
