"""What a service takes beside generating, in virtual time: the section `cost` of the configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mlsys.errors import UserError


@dataclass(frozen=True)
class Overheads:
    """`request_ms`: what a request takes outside of everything that others could wait for (network, client).

    `loop_ms`: what it keeps the event loop of the process that answers it; `balancer_ms`: that of the balancer.
    `batch_ms` and `batch_request_ms`: what a batch takes in the worker beside generating (its way to the thread,
    embedding, retrieval, prompts), and what each of its requests adds. `start_s`: from a replica's start to ready.
    `spread`: what batches take as multiples of the mean, at equal steps of probability; none: always the mean.
    """

    request_ms: float = 0.0
    loop_ms: float = 0.0
    balancer_ms: float = 0.0
    batch_ms: float = 0.0
    batch_request_ms: float = 0.0
    start_s: float = 0.0
    spread: tuple[float, ...] = ()


def overheads(section: Mapping[str, Any]) -> Overheads:
    """What `cost` says; null is 0. Raises UserError for what is no time."""
    known = {knob.name for knob in fields(Overheads)}
    values = dict[str, Any]()
    for name, value in section.items():
        if name == "from" or (name in known and value is None):
            continue
        if name not in known:
            raise UserError(f"cost has no {name}; it has from, {', '.join(sorted(known))}")
        if name == "spread":
            values[name] = tuple(value)
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise UserError(f"cost.{name}={value} must be a number of at least 0")
        values[name] = float(value)
    return Overheads(**values)
