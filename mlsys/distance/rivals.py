"""What distances of many vectors are measured against: made ready, checked on some rows, timed in turn with ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from mlsys import progress
from mlsys.distance.baseline import WRONG, Unavailable
from mlsys.errors import UserError
from mlsys.record import Results, Scalar
from mlsys.timing import Clock

P = TypeVar("P")
REASONS = (Unavailable, ImportError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class Rival:
    """A call ready to be timed and the expression that it carries out."""

    call: Callable[[], Any]
    expression: str


def check_names(option: str, names: list[str], there: Mapping[str, object]) -> None:
    """Raise UserError for a name that is no rival."""
    for name in names:
        if name not in there:
            raise UserError(f"{option}=[{name}] is not a peer; there are: {', '.join(there)}")


def ready(
    names: list[str], makers: Mapping[str, Callable[[P], Rival]], problem: P, error: Callable[[Any], float]
) -> tuple[dict[str, Rival], dict[str, Scalar]]:
    """Those that can compute the problem, with what the record says of each: expression, error or why it cannot."""
    found: dict[str, Rival] = {}
    values: dict[str, Scalar] = {}
    for name in names:
        try:
            rival = makers[name](problem)
            wrong = values[f"baseline.{name}.relative_error"] = error(rival.call())
        except REASONS as reason:
            values[f"baseline.{name}.error"] = str(reason).splitlines()[0]
            progress.say(f"{name} did not run: {values[f'baseline.{name}.error']}")
            continue
        if not wrong <= WRONG:  # nan is wrong as well
            progress.say(f"{name} is wrong: its relative error is up to {wrong:.3g}")
        found[name] = rival
        values[f"baseline.{name}.expression"] = rival.expression
    return found, values


def timed(clock: Clock, ours: Callable[[], object], rivals: Mapping[str, Rival], prefix: str = "") -> Results:
    """Ours and all rivals in turn: on the device with cold caches (`latency_ms`), and as a caller waits (`wall_ms`).

    With a prefix the names are `<prefix>.latency_ms`, `baseline.<name>.<prefix>.latency_ms`, `<prefix>_speedup.<name>`.
    """
    calls = {"": ours, **{name: rival.call for name, rival in rivals.items()}}
    dotted, joined = (f"{prefix}{sign}" if prefix else "" for sign in "._")
    values: dict[str, Scalar] = {}
    samples: dict[str, list[float]] = {}
    for figure, gain, way in (
        ("latency_ms", "speedup", clock.cold),
        ("wall_ms", "wall_speedup", clock.wall),
    ):
        times = way(calls)
        for name, timing in times.items():
            label = f"baseline.{name}.{dotted}{figure}" if name else f"{dotted}{figure}"
            values |= timing.quartiles(label)
            samples[label] = timing.samples_ms
            if name:
                values[f"{joined}{gain}.{name}"] = timing.median_ms / times[""].median_ms
    return Results(values, samples)


def relative_error(found: Any, wanted: torch.Tensor, scale: torch.Tensor) -> float:
    """The largest |found − wanted| over the scale, both float64; equal values and nan for nan count as 0."""
    value = torch.as_tensor(found).double().cpu()
    same = (value == wanted) | (value.isnan() & wanted.isnan())
    errors = ((value - wanted).abs() / scale).masked_fill(same, 0.0)
    return float(errors.max()) if errors.numel() else 0.0
