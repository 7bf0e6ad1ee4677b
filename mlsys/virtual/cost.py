"""What a service takes beside generating, in virtual time: the section `cost` of the configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mlsys.errors import UserError

IDLE_S = 0.06  # after a longer pause an engine has lost what made it fast: as seen on one machine
TABLES = ("spread", "shape")


def rested(idle_s: float) -> float:
    """How much of `idle_ms` a pause costs: of a short one next to nothing."""
    return -math.expm1(-((idle_s / IDLE_S) ** 2))


@dataclass(frozen=True)
class Overheads:
    """`request_ms`: what a request takes outside of everything that others could wait for (network, client).

    `loop_ms`: what it keeps the event loop of the process that answers it; `balancer_ms`: that of the balancer. A
    worker's thread that embeds, retrieves and writes prompts holds that loop meanwhile: they share one interpreter.
    `client_ms`: what an answer keeps the clients' event loop before the next question can be sent, one after the other.
    `dispatch_ms`: how late a question is sent that is due at a time.
    `batch_ms` and `batch_request_ms`: what a batch takes in the worker beside generating (its way to the thread,
    embedding, retrieval, prompts), and what each of its requests adds. `start_s`: from a replica's start to ready.
    `idle_ms`: what the first batch after a long pause takes longer than one that follows at once.
    `spread`: what batches take as multiples of the mean, at equal steps of probability; none: always the mean.
    `shape`: sizes of batches, and what those take as a multiple of what the generator's knobs say; in between straight.
    """

    request_ms: float = 0.0
    loop_ms: float = 0.0
    balancer_ms: float = 0.0
    client_ms: float = 0.0
    dispatch_ms: float = 0.0
    batch_ms: float = 0.0
    batch_request_ms: float = 0.0
    idle_ms: float = 0.0
    start_s: float = 0.0
    spread: tuple[float, ...] = ()
    shape: tuple[tuple[float, float], ...] = ()

    def factor(self, size: float) -> float:
        """What a batch (or step) of this size takes as a multiple of what the generator's knobs say."""
        if not self.shape:
            return 1.0
        sizes, factors = zip(*self.shape, strict=True)
        return float(np.interp(size, sizes, factors))

    def woken_ms(self, idle_s: float) -> float:
        """What a batch takes longer that begins so long after the one before."""
        return self.idle_ms * rested(idle_s)


def overheads(section: Mapping[str, Any]) -> Overheads:
    """What `cost` says; null is 0. Raises UserError for what is no time."""
    known = {knob.name for knob in fields(Overheads)}
    values = dict[str, Any]()
    for name, value in section.items():
        if name == "from" or (name in known and value is None):
            continue
        if name not in known:
            raise UserError(f"cost has no {name}; it has from, {', '.join(sorted(known))}")
        if name in TABLES:
            values[name] = tuple(tuple(one) if isinstance(one, (list, tuple)) else one for one in value)
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise UserError(f"cost.{name}={value} must be a number of at least 0")
        values[name] = float(value)
    return Overheads(**values)
