"""The knobs of `loadtest` and their types. Only the standard library is imported here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mlsys.errors import UserError

ARRIVALS = "mlsys.loadtest.arrivals"
DEFAULT_REQUESTS = 60
LEAST = {
    "requests": 1,
    "warmup_requests": 0,
    "repeats": 1,
    "k": 1,
    "engine_requests": 1,
    "quality_questions": 0,
}


@dataclass
class Load:
    """What every kind of load has, whatever its arrivals: how much is measured and what counts as good."""

    requests: int | None = None
    duration_s: float | None = None
    warmup_requests: int | None = None
    repeats: int = 1
    timeout_s: float = 120.0
    slo_ms: float | None = None
    k: int = 2
    engine_ceiling: bool = True
    engine_requests: int = 30
    quality_questions: int = 200

    def __post_init__(self) -> None:
        for knob, minimum in LEAST.items():
            value = getattr(self, knob)
            if value is not None and not (isinstance(value, int) and value >= minimum):
                raise UserError(f"loadtest.{knob}={value} must be a whole number of at least {minimum}")
        for knob in ("duration_s", "timeout_s", "slo_ms"):
            value = getattr(self, knob)
            if value is not None and not (is_number(value) and value > 0):
                raise UserError(f"loadtest.{knob}={value} must be more than 0")

    @property
    def measured_requests(self) -> int | None:
        """How many requests are measured: `requests`, or a default unless a duration is given."""
        return DEFAULT_REQUESTS if self.requests is None and self.duration_s is None else self.requests


@dataclass
class ClosedOptions(Load):
    """`loadtest=closed`. `concurrency` is a number or a list."""

    _target_: str = f"{ARRIVALS}.closed.Closed"
    name: str = "closed"
    concurrency: Any = 8


@dataclass
class PoissonOptions(Load):
    """`loadtest=poisson`. `request_rate` is a number (requests/s) or a list."""

    _target_: str = f"{ARRIVALS}.poisson.Poisson"
    name: str = "poisson"
    request_rate: Any = 1.0


@dataclass
class ConstantOptions(Load):
    """`loadtest=constant`."""

    _target_: str = f"{ARRIVALS}.constant.Constant"
    name: str = "constant"
    request_rate: Any = 1.0


@dataclass
class BurstOptions(Load):
    """`loadtest=burst`."""

    _target_: str = f"{ARRIVALS}.burst.Burst"
    name: str = "burst"
    request_rate: Any = 1.0
    burst_size: int = 8


@dataclass
class SloSearchOptions(Load):
    """`loadtest=slo_search`."""

    slo_ms: float | None = 1000.0
    _target_: str = f"{ARRIVALS}.slo_search.SloSearch"
    name: str = "slo_search"
    request_rate: float = 1.0
    share: float = 0.95
    tolerance: float = 0.1
    max_levels: int = 12
    max_total_s: float = 3600.0


@dataclass
class NoneOptions:
    """`loadtest=none`: just serve."""

    _target_: str = f"{ARRIVALS}.none.Nothing"
    name: str = "none"


SCHEMAS: dict[str, type] = {
    "loadtest/closed": ClosedOptions,
    "loadtest/poisson": PoissonOptions,
    "loadtest/constant": ConstantOptions,
    "loadtest/burst": BurstOptions,
    "loadtest/slo_search": SloSearchOptions,
    "loadtest/none": NoneOptions,
}


def split(loadtest: Mapping[str, Any]) -> tuple[Load, dict[str, Any]]:
    """A `loadtest` section as what every load has and what its arrivals take. Raises UserError."""
    common = {knob.name for knob in fields(Load)}
    load = Load(**{name: value for name, value in loadtest.items() if name in common})
    return load, {name: value for name, value in loadtest.items() if name not in common}


def positive(option: str, value: Any, whole: bool) -> list[float]:
    """A positive number or a list of them, as a list. Raises UserError naming the option."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise UserError(f"{option}=[] must name at least one value")
    for one in values:
        if not is_number(one) or one <= 0 or (whole and one != int(one)):
            kind = "a whole number of at least 1" if whole else "more than 0"
            raise UserError(f"{option}={one} must be {kind}")
    return [int(one) if whole else float(one) for one in values]


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
