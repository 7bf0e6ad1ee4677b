"""Prometheus's text, read within bounds, and what happened between two readings of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from mlsys.loadtest.scraping.names import COUNTS, MOMENTS, SHARES, SIZES, SYSTEMS, TIMES
from mlsys.record import Scalar

MOST_SAMPLES = 50_000
PREFIX = "counters."
REFUSED = "code"  # a label of ours: only what was answered with 200 counts as a request


@dataclass(frozen=True)
class Reading:
    """The values of one reading by name, of all label sets. `system`: whose names they are, None: nobody's known."""

    values: Mapping[str, list[float]] = field(default_factory=dict)
    system: str | None = None

    def total(self, name: str) -> float | None:
        """The sum over all label sets; None where the name is not there."""
        found = self.values.get(name)
        return None if found is None else math.fsum(found)


def read(text: str) -> Reading:
    """What can be read of a `/metrics`; nothing of what is no exposition, and of names that nobody here knows."""
    from prometheus_client.parser import text_string_to_metric_families as families

    values: dict[str, list[float]] = {}
    try:
        samples = (sample for family in families(text) for sample in family.samples)
        for sample in islice(samples, MOST_SAMPLES):
            name = sample.name.replace(":", "_").removesuffix("_total")
            known = name.startswith(tuple(SYSTEMS)) and not name.endswith("_bucket")
            if known and math.isfinite(sample.value) and sample.labels.get(REFUSED, "200") == "200":
                values.setdefault(name, []).append(float(sample.value))
    except (ValueError, KeyError, IndexError):  # the parser's ways to say that it is none
        return Reading()
    owners = [system for prefix, system in SYSTEMS.items() if any(name.startswith(prefix) for name in values)]
    return Reading(values, owners[0] if owners else None)


def difference(before: Reading, after: Reading) -> dict[str, Scalar]:
    """What was counted between two readings, `counters.*`: sums, and means of times in ms and of sizes.

    A sum that fell belongs to a service that was started anew, and is not told.
    """
    found: dict[str, Scalar] = {PREFIX + "system": after.system}
    for name, ways in COUNTS.items():
        if (count := _first_grown(before, after, ways)) is not None:
            found[PREFIX + name] = int(count) if count == int(count) else count
    for group, factor in ((TIMES, 1e3), (SIZES, 1.0)):
        for name, histograms in group.items():
            total = _first_grown(before, after, [(f"{one}_sum",) for one in histograms])
            count = _first_grown(before, after, [(f"{one}_count",) for one in histograms])
            if total is not None and count:
                found[f"{PREFIX}{name}.mean"] = factor * total / count
    return found


def course(readings: Sequence[Reading]) -> dict[str, Scalar]:
    """Mean and maximum of what is only true at a moment, over readings while the load ran."""
    found: dict[str, Scalar] = {}
    for group, together in ((MOMENTS, math.fsum), (SHARES, lambda values: math.fsum(values) / len(values))):
        for name, ways in group.items():
            seen = [together(values) for one in readings if (values := _first(one, ways))]
            if seen:
                found[f"{PREFIX}{name}.mean"] = math.fsum(seen) / len(seen)
                found[f"{PREFIX}{name}.max"] = max(seen)
    return found


def _first(reading: Reading, ways: Sequence[str]) -> list[float] | None:
    return next((reading.values[name] for name in ways if name in reading.values), None)


def _first_grown(before: Reading, after: Reading, ways: Sequence[Sequence[str]]) -> float | None:
    """By how much the first sum grew that the later reading has. A counter that was not there yet was 0."""
    for names in ways:
        late = [after.total(name) for name in names]
        if None in late:
            continue
        early = [before.total(name) or 0.0 for name in names]
        grown = math.fsum(value or 0.0 for value in late) - math.fsum(early)
        return grown if grown >= 0 else None
    return None
