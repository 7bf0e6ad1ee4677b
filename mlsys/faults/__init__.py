"""What is broken on purpose while a service is under load, so that what it then does is measured and not believed.

A fault is an option of the group `fault`: when it begins, whom it hits, how long it lasts. It knows nothing of the load
or of the record. `Conductor` runs it, `figures` says what came of it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from mlsys.errors import UserError

ANY, ALL, SERVICE = "any", "all", "service"
WAYS = ("", "replica", "client")


class Scene(Protocol):
    """What a fault can reach (`mlsys.faults.scene`)."""

    def signal(self, target: str, number: int) -> None:
        """Send a signal to the target's process."""

    def limit(self, target: str, resource: int, soft: int) -> int:
        """Set a process's soft limit; returns the one before."""

    def rule(self, target: str, rule: Any) -> None:
        """What the way to the target does with bytes from now on (`mlsys.faults.detour.Rule`)."""

    def in_rotation(self, target: str) -> bool:
        """Whether requests are sent to it."""

    def clock(self) -> float:
        """Seconds, for what goes on and off."""


class Fault:
    """What every fault has. Each says what it does in `strike`, and what was done in `what`.

    `at_s`: seconds after a level's load has begun. `for_s`: how long, where it lasts. `target`: `any` (one that `seed`
    draws), `all`, a replica's name, `service` (the service's own process: of `lb` the balancer), `pid:N`.
    """

    way: ClassVar[str] = (
        ""  # what must be between whom: "replica" a proxy before each, "client" one before the service
    )
    process: ClassVar[bool] = True  # whether it hits a process, which then must be ours
    replicas_only: ClassVar[bool] = False
    ends_it: ClassVar[bool] = False  # whether the process it hits is gone
    virtual: ClassVar[bool] = True  # whether it can be done to what is simulated
    noticeable: ClassVar[bool] = True  # whether a balancer should do something about it
    did: ClassVar[str] = ""  # "{} was …": what the record and the page say

    def __init__(self, name: str, at_s: float, target: str, seed: int, for_s: float = 0.0) -> None:
        self.name, self.at_s, self.for_s, self.target, self.seed = name, at_s, for_s, target, seed
        at_least(name, "at_s", at_s, 0)
        at_least(name, "for_s", for_s, 0)
        at_least(name, "seed", seed, 0)

    def plan(self) -> list[Fault]:
        """The faults in the order of their beginning: itself."""
        return [self]

    def environment(self, directory: str) -> Mapping[str, str]:
        """What the service's processes must be started with."""
        return {}

    def leavers(self) -> dict[str, float] | None:
        """What the load generator must do itself, where it is the clients that misbehave."""
        return None

    def strike(self, scene: Scene, targets: Sequence[str], over: threading.Event) -> None:
        """Break it; return when it is mended, after `for_s` or as soon as `over` is set."""
        raise NotImplementedError

    def what(self, targets: Sequence[str]) -> str:
        """What was done, in words."""
        return self.did.format(", ".join("the service" if name == SERVICE else name for name in targets))


def at_least(name: str, knob: str, value: float, least: float) -> None:
    """Raise UserError where a knob is smaller."""
    if not value >= least or value == float("inf"):
        raise UserError(f"fault={name}: fault.{knob}={value:g} must be at least {least:g} and finite")


def between(name: str, knob: str, value: float, low: float, high: float) -> None:
    """Raise UserError where a share is none."""
    if not low < value <= high:
        raise UserError(
            f"fault={name}: fault.{knob}={value:g} must be more than {low:g} and at most {high:g}"
        )
