"""What faults reach in virtual time: the replicas' processes, and the ways to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsys.errors import UserError
from mlsys.faults import SERVICE, Fault
from mlsys.faults.detour import Rule
from mlsys.faults.scene import Scene, replicas
from mlsys.serving.modes import Service
from mlsys.serving.modes.lb import Balancer
from mlsys.virtual.hosts import VirtualHosts
from mlsys.virtual.loop import VirtualLoop
from mlsys.virtual.process import STARTING


class VirtualScene(Scene):
    """All of it happens in the loop, in the order in which it is asked for."""

    def __init__(self, loop: VirtualLoop, service: Service, hosts: VirtualHosts) -> None:
        self.directory, self.url, self.pid, self.given = Path(), STARTING, None, False
        self._balancer = service if isinstance(service, Balancer) else None
        self.replicas = [] if self._balancer is None else [one.name for one in self._balancer.backends.all]
        self.meters, self.answers = {}, True
        self._loop, self._hosts = loop, hosts

    def clock(self) -> float:
        """The loop's."""
        return self._loop.time()

    def signal(self, target: str, number: int) -> None:
        """To the process of that name which runs now."""
        self._loop.call_soon(self._hosts.processes[STARTING + target].signal, number)

    def rule(self, target: str, rule: Any) -> None:
        """What the way to the target does from now on."""
        self._loop.call_soon(self._hosts.ways[target].bend, rule if isinstance(rule, Rule) else Rule())

    def look(self) -> Mapping[tuple[str, str], float]:
        """The meters of a balancer that faults are noticed by."""
        if (balancer := self._balancer) is None:
            return {}
        available = set(balancer.backends.available())
        up = {("replica_up", one.name): float(one in available) for one in balancer.backends.all}
        self.meters = {**up, ("retries_total", ""): float(balancer.proxy.retries)}
        return self.meters


def check(fault: Fault, config: Mapping[str, Any]) -> None:
    """Raise UserError for what has no form in virtual time."""
    of = f"fault={fault.name} clock=virtual"
    if not fault.virtual:
        raise UserError(f"{of}: a simulated process has nothing of what this takes from a real one")
    if not (fault.process or fault.way):
        return
    if not replicas(config["server"]) or config["server"]["backends"]:
        raise UserError(f"{of}: only replicas can be broken there, and server=lb has some")
    if fault.target == SERVICE or fault.target.startswith("pid:"):
        raise UserError(f"{of} fault.target={fault.target}: only replicas can be broken there")
