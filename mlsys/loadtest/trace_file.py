"""Yesterday's traffic from a file: when each request came, how long prompt and answer were, what prompts share.

Three published forms are known by their columns: Mooncake's JSON lines (`timestamp` in ms, `input_length`,
`output_length`, `hash_ids`; Qin et al., FAST 2025), BurstGPT's CSV (`Timestamp` in s, `Request tokens`, `Response
tokens`; Wang et al., KDD 2025) and Azure's LLM inference CSV (`TIMESTAMP` as a date, `ContextTokens`,
`GeneratedTokens`; Patel et al., ISCA 2024). Other names and units can be said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from mlsys.errors import UserError
from mlsys.loadtest import tables

OPTION = "loadtest.path"
MOST_REQUESTS = 1_000_000
MOST_TOKENS = 10_000_000
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
KNOWN = {
    "time": ("timestamp", "time", "arrivaltime", "arrivedat", "arrival"),
    "input": ("inputlength", "requesttokens", "contexttokens", "inputtokens", "prompttokens", "promptlength"),
    "output": (
        "outputlength", "responsetokens", "generatedtokens", "outputtokens", "completiontokens", "outputlen",
    ),
    "prefix": ("hashids",),
}  # fmt: skip
SHOWN = {"time": "times", "input": "prompt lengths", "output": "answer lengths", "prefix": "shared prefixes"}


@dataclass(frozen=True, slots=True)
class Traced:
    """One request: s since the first, lengths in tokens (None: not told), and the ids of its prompt's blocks."""

    at_s: float
    input_tokens: int | None
    output_tokens: int | None
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True)
class TraceFile:
    """A trace in order of time.

    `columns`: which column tells `time`, `input`, `output` and `prefix`. `unit` of times: s, ms, us, ns or date.
    `reordered`: requests that stood after a later one. `more`: whether the file goes on beyond what is read.
    """

    path: str
    sha256: str
    requests: tuple[Traced, ...]
    columns: Mapping[str, str]
    unit: str
    reordered: int
    more: bool

    @property
    def span_s(self) -> float:
        """From the first request to the last."""
        return self.requests[-1].at_s

    def about(self) -> str:
        """What was found in it, in one line."""
        told = ", ".join(
            f"{SHOWN[what]} from {column!r}" + (f" ({self.unit})" if what == "time" else "")
            for what, column in self.columns.items()
        )
        order = f"; {self.reordered} stood after a later one and are put in order" if self.reordered else ""
        rest = f"; the file goes on, only {MOST_REQUESTS} are read" if self.more else ""
        return f"{self.path}: {len(self.requests)} requests in {self.span_s:.6g} s; {told}{order}{rest}"


def read(path: str, columns: Mapping[str, str] | None, unit: str | None) -> TraceFile:
    """Read a trace. `columns` and `unit` say what cannot be told from the file.

    Raises UserError with the file and the line for what is no trace.
    """
    if unit is not None and unit not in UNITS:
        raise UserError(f"loadtest.time_unit={unit} is none of: {' '.join(UNITS)}")
    found: dict[str, str] = {}
    times, rest, more = list[float](), list[Traced](), False
    for place, row in tables.rows(OPTION, path):
        if not found:
            found = _columns(place, row, columns or {})
            unit = unit or _unit(path, row[found["time"]])
        if len(times) == MOST_REQUESTS:
            more = True
            break
        for name in found.values():
            if name not in row:
                raise UserError(f"{place}: no {name}, which the rows before have")
        times.append(_time(place, found["time"], row[found["time"]], unit or "s"))
        rest.append(_request(place, row, found))
    if not times:
        raise UserError(f"{OPTION}={path} has no requests")
    order = sorted(range(len(times)), key=times.__getitem__)
    begin_s = times[order[0]]
    late = sum(after < before for before, after in pairwise(times))
    requests = tuple(
        Traced(times[i] - begin_s, rest[i].input_tokens, rest[i].output_tokens, rest[i].blocks) for i in order
    )
    return TraceFile(path, tables.sha256(path), requests, found, unit or "s", late, more)


def _columns(place: str, row: Mapping[str, Any], named: Mapping[str, str]) -> dict[str, str]:
    plain = {"".join(c for c in name.lower() if c.isalnum()): name for name in row}
    found = {}
    for what, names in KNOWN.items():
        if what in named:
            if named[what] not in row:
                raise UserError(f"loadtest.columns.{what}={named[what]}: {place} has {', '.join(row)}")
            found[what] = named[what]
        elif known := [plain[name] for name in names if name in plain]:
            found[what] = known[0]
    if unknown := set(named) - set(KNOWN):
        raise UserError(f"loadtest.columns has no {min(unknown)}; it has {', '.join(KNOWN)}")
    if "time" not in found:
        raise UserError(
            f"{place}: no column tells when requests came; there are {', '.join(row)}"
            " (loadtest.columns={time: NAME} says which)"
        )
    return found


def _unit(path: str, value: Any) -> str:
    """Numbers of JSON lines are ms, as Mooncake's, of other files s, as BurstGPT's."""
    try:
        float(value)
    except (TypeError, ValueError):
        return "date"
    return "ms" if path.endswith((".jsonl", ".ndjson")) else "s"


def _time(place: str, name: str, value: Any, unit: str) -> float:
    """Seconds since some beginning."""
    try:
        if unit == "date":
            at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        seconds = float(value) * UNITS[unit]
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not math.isfinite(seconds):
        raise UserError(f"{place}: {name}={value} is no time")
    return seconds


def _request(place: str, row: Mapping[str, Any], columns: Mapping[str, str]) -> Traced:
    lengths = {
        what: _length(place, columns[what], row[columns[what]])
        for what in ("input", "output")
        if what in columns
    }
    blocks = row[columns["prefix"]] if "prefix" in columns else ()
    if not isinstance(blocks, (list, tuple)) or any(type(block) is not int or block < 0 for block in blocks):
        raise UserError(f"{place}: {columns['prefix']} must be a list of whole numbers of at least 0")
    return Traced(0.0, lengths.get("input"), lengths.get("output"), tuple(blocks))


def _length(place: str, name: str, value: Any) -> int:
    try:
        tokens = float(value)
    except (TypeError, ValueError):
        tokens = -1.0
    if isinstance(value, bool) or not (0 <= tokens <= MOST_TOKENS and tokens == int(tokens)):
        raise UserError(f"{place}: {name}={value} must be a whole number of tokens, 0 to {MOST_TOKENS:_}")
    return int(tokens)
