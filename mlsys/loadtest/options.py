"""What every kind of load has: the knobs of `conf/loadtest/_load.yaml`, with their types and limits.

What only one kind has stands with its arrivals, in `mlsys/loadtest/arrivals/`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.loadtest.lengths import Lengths, OutputTokens

AUTO, MOST_PROCESSES = "auto", 256
STREAMED = ("ttft_ms", "tpot_ms")
LIMITS = (*STREAMED, "e2e_ms")
LEAST = {
    "requests": 1,
    "warmup_requests": 0,
    "repeats": 1,
    "k": 1,
    "turns": 1,
    "engine_requests": 1,
    "quality_questions": 0,
}


@dataclass
class Load:
    """What every kind of load has, whatever its arrivals: how much is measured and what counts as good."""

    requests: int | None
    duration_s: float | None
    warmup_requests: int | None
    repeats: int
    timeout_s: float
    slo_ms: float | None
    slo: dict[str, float] | None
    stream: bool
    stall_s: float
    k: int
    output_tokens: OutputTokens
    zipf_s: float | None
    questions: str | None
    turns: int
    think_time_s: float
    processes: int | str
    engine_ceiling: bool
    engine_requests: int
    quality_questions: int

    def __post_init__(self) -> None:
        for knob, minimum in LEAST.items():
            value = getattr(self, knob)
            if value is not None and not (isinstance(value, int) and value >= minimum):
                raise UserError(f"loadtest.{knob}={value} must be a whole number of at least {minimum}")
        for knob in ("duration_s", "timeout_s", "slo_ms", "stall_s", "zipf_s"):
            value = getattr(self, knob)
            if value is not None and not (is_number(value) and value > 0):
                raise UserError(f"loadtest.{knob}={value} must be more than 0")
        if self.processes != AUTO and not (
            isinstance(self.processes, int) and 1 <= self.processes <= MOST_PROCESSES
        ):
            raise UserError(f"loadtest.processes={self.processes} must be auto, or 1 to {MOST_PROCESSES}")
        if not (is_number(self.think_time_s) and self.think_time_s >= 0):
            raise UserError(f"loadtest.think_time_s={self.think_time_s} must be at least 0")
        Lengths(self.output_tokens)
        self._check_limits()

    def _check_limits(self) -> None:
        if not isinstance(self.slo, (dict, NoneType)):
            raise UserError(f"loadtest.slo={self.slo} must be limits such as {{ttft_ms: 500, e2e_ms: 5000}}")
        for name, limit in (self.slo or {}).items():
            if name not in LIMITS:
                raise UserError(f"loadtest.slo has no {name}; it has {', '.join(LIMITS)}")
            if not (is_number(limit) and limit > 0):
                raise UserError(f"loadtest.slo.{name}={limit} must be more than 0")
            if name in STREAMED and not self.stream:
                raise UserError(f"loadtest.slo.{name}={limit:g} needs loadtest.stream=true")
        e2e_ms = (self.slo or {}).get("e2e_ms", self.slo_ms)
        if None not in (self.slo_ms, e2e_ms) and e2e_ms != self.slo_ms:
            raise UserError(
                f"loadtest.slo_ms={self.slo_ms:g} is another limit than loadtest.slo.e2e_ms={e2e_ms:g}"
            )

    @property
    def limits(self) -> dict[str, float]:
        """What a request must meet to be good, by the name of its figure; `slo_ms` is the limit of `e2e_ms`."""
        alone = {} if self.slo_ms is None else {"e2e_ms": self.slo_ms}
        return {name: limit for name in LIMITS if (limit := (alone | (self.slo or {})).get(name)) is not None}

    def measured_requests(self, default: int | None) -> int | None:
        """How many requests are measured: `requests`, or the arrivals' default unless a duration is given."""
        return default if self.requests is None and self.duration_s is None else self.requests


def split(loadtest: Mapping[str, Any]) -> tuple[Load | None, dict[str, Any]]:
    """A `loadtest` section as what every load has (None: it has nothing of it) and what its arrivals take.

    Raises UserError for a value of another type or beyond its limits.
    """
    common, own = _apart(typed(loadtest))
    return Load(**common) if common else None, own


def typed(loadtest: Mapping[str, Any]) -> dict[str, Any]:
    """The section with each value as `Load` and the arrivals take it. Raises UserError for one of another type."""
    common, own = _apart(loadtest)
    own = signatures.check("loadtest", own, signatures.named("loadtest", own))
    return {**own, **(signatures.check("loadtest", common, Load) if common else {})}


def _apart(loadtest: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    names = {knob.name for knob in fields(Load)}
    common = {name: value for name, value in loadtest.items() if name in names}
    return common, {name: value for name, value in loadtest.items() if name not in names}


def positive(option: str, value: Any, whole: bool) -> list[float]:
    """A positive number or a list of them, as a list. Raises UserError naming the option."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise UserError(f"{option}=[] must name at least one value")
    for one in values:
        if not is_number(one) or one <= 0 or (whole and one != int(one)):
            kind = "a whole number of at least 1" if whole else "more than 0"
            shown = f"{one:g}" if is_number(one) else one
            raise UserError(f"{option}={shown} must be {kind}")
    return [int(one) if whole else float(one) for one in values]


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
