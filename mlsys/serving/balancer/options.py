"""The knobs of `balancer`, with their types and defaults; the policies check the values. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

POLICIES = "mlsys.serving.balancer"


@dataclass
class RoundRobin:
    """`balancer=round_robin`."""

    _target_: str = f"{POLICIES}.round_robin.RoundRobin"
    name: str = "round_robin"


@dataclass
class LeastInFlight:
    """`balancer=least_in_flight`."""

    _target_: str = f"{POLICIES}.least_in_flight.LeastInFlight"
    name: str = "least_in_flight"


@dataclass
class PowerOfTwo:
    """`balancer=power_of_two`."""

    _target_: str = f"{POLICIES}.power_of_two.PowerOfTwo"
    name: str = "power_of_two"
    seed: int = 0


SCHEMAS: dict[str, type] = {
    "round_robin": RoundRobin,
    "least_in_flight": LeastInFlight,
    "power_of_two": PowerOfTwo,
}
