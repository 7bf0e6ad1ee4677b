"""What the user is told as levels begin and end: how to call them, and what is not well with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsys import progress
from mlsys.loadtest.options import Load
from mlsys.loadtest.scraping import agreement
from mlsys.record import Scalar


def title(server: str, load: Load, event: Mapping[str, Any]) -> str:
    """Of a level that begins."""
    name, value = next(iter(event["level"].items()))
    again = f", {event['repeat'] + 1} of {load.repeats}" if load.repeats > 1 else ""
    return f"server={server}, {name} {value:g}{again}"


def doubts(values: Mapping[str, Any]) -> None:
    """Say what is not well with a level that has ended."""
    if (doubt := agreement.doubt(values)) is not None:
        progress.say(doubt)
    if values["invalid_reason"]:
        progress.say(f"this level is not valid: {values['invalid_reason']}")
    if values["e2e_ms.p50"] is not None and values["e2e_ms.p99"] is None:
        progress.say(f"no p99 of {values['succeeded']} answers: it takes 100 (loadtest.requests)")
    if values["most_frequent_error"]:
        progress.say(
            f"{values['failed'] + values['timed_out']} failed, mostly: {values['most_frequent_error']}"
        )


def found(limits: Mapping[str, float], values: Mapping[str, Scalar]) -> None:
    """Say what a search for a rate that meets the limits has found."""
    met = values["slo.max_rate_rps"]
    slo = " ".join(f"{name}<={limit:g}" for name, limit in limits.items())
    said = f"no rate was found that meets {slo}" if met is None else f"{met:.4g} requests/s meet {slo}"
    low, high = values.get("slo.capacity_low_rps"), values.get("slo.capacity_high_rps")
    if isinstance(low, float) and isinstance(high, float):
        said += f", the capacity is {low:.4g} to {high:.4g} with 95 % confidence"
    progress.say(f"{said} (the search ended: {values['slo.ended']})")
