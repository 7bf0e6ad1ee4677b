"""What faults reach: the service's process, its replicas by name, and the detours on the way to them."""

from __future__ import annotations

import http.client
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from mlsys.errors import UserError
from mlsys.faults import ALL, ANY, SERVICE, Fault
from mlsys.faults import Scene as Reached
from mlsys.faults.detour import Detours, Rule
from mlsys.serving.process import READY

METER = re.compile(r'^mlsys_(\w+?)(?:\{replica="([^"]*)"\})? (\S+)$')
TIMEOUT_S = 1.0


@dataclass
class Scene:
    """`pid`: the service's process, None where it is not ours. `replicas`: names; empty without a balancer of ours."""

    directory: Path
    url: str
    pid: int | None
    replicas: Sequence[str]
    detours: Detours
    given: bool = False  # whether the replicas are addresses, whose processes are not ours
    meters: dict[tuple[str, str], float] = field(default_factory=dict)
    answers: bool = True  # whether it answered the last look

    def targets(self, fault: Fault) -> list[str]:
        """Whom the fault hits, by name."""
        names = [SERVICE] if fault.way == "client" else list(self.replicas) or [SERVICE]
        if fault.target == ALL:
            return names
        return [random.Random(fault.seed).choice(names)] if fault.target == ANY else [fault.target]

    def process(self, target: str) -> psutil.Process:
        """Raises psutil.NoSuchProcess where it is gone."""
        if target.startswith("pid:"):
            return psutil.Process(int(target.removeprefix("pid:")))
        own = psutil.Process(self.pid)
        if target == SERVICE:
            return own
        ending = str(self.directory / f"{target}.yaml")
        for child in own.children(recursive=True):
            if child.status() != psutil.STATUS_ZOMBIE and ending in child.cmdline():
                return child
        raise psutil.NoSuchProcess(0, target)

    def signal(self, target: str, number: int) -> None:
        """Send it; one that is gone meanwhile has nothing to be told."""
        try:
            self.process(target).send_signal(number)
        except psutil.NoSuchProcess:
            return

    def limit(self, target: str, resource: int, soft: int) -> int:
        """Set a process's soft limit; returns the one before."""
        try:
            process = self.process(target)
            before, hard = process.rlimit(resource)
            process.rlimit(resource, (soft if hard < 0 or soft < 0 else min(soft, hard), hard))
        except psutil.NoSuchProcess:
            return soft
        return int(before)

    def rule(self, target: str, rule: Any) -> None:
        """What the way to the target does with bytes from now on."""
        self.detours.by_name[target].rule = rule if isinstance(rule, Rule) else Rule()

    def look(self) -> Mapping[tuple[str, str], float]:
        """The service's meters now, by name and replica; those of the last look where it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=TIMEOUT_S) as response:
                lines = response.read().decode().splitlines()
        except urllib.error.HTTPError:  # an answer too: somebody else's service has no such page
            self.answers = True
            return self.meters
        except (OSError, ValueError, http.client.HTTPException):
            self.answers = False
            return self.meters
        self.answers = True
        found = [match for line in lines if (match := METER.match(line))]
        self.meters = {(match[1], match[2] or ""): float(match[3]) for match in found}
        return self.meters

    def clock(self) -> float:
        """The machine's."""
        return time.monotonic()

    def in_rotation(self, target: str) -> bool:
        """Whether requests are sent to it, as the balancer says; without one, whether its process runs."""
        return self.look().get(("replica_up", target), 1.0) == 1.0


def process_of(scene: Reached, target: str) -> psutil.Process:
    """The target's process. Raises psutil.NoSuchProcess where it is gone."""
    if not isinstance(scene, Scene):
        raise TypeError("only a real scene has processes")
    return scene.process(target)


def address_of(directory: Path, name: str) -> str:
    """Where a replica said last that it serves. Raises ValueError where it has never said so."""
    logs = sorted(directory.glob(f"{name}.*.log"), key=lambda path: int(path.suffixes[-2][1:]), reverse=True)
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
    raise ValueError(f"{name} does not serve yet")


def check(fault: Fault, config: Mapping[str, Any]) -> None:
    """Raise UserError where the fault makes no sense for the chosen server."""
    server = config["server"]
    name, of = fault.name, f"fault={fault.name} with server={server['name']}"
    names = replicas(server)
    if server.get("tls_cert"):
        raise UserError(f"{of}: server.tls_cert hides from it what it must see; leave one out")
    if fault.replicas_only and not (names and not server["backends"]):
        raise UserError(f"{of}: there are no replicas to restart; server=lb starts them")
    if fault.target.startswith("pid:"):
        number = fault.target.removeprefix("pid:")
        if not (number.isdigit() and psutil.pid_exists(int(number))):
            raise UserError(f"fault.target={fault.target}: there is no such process")
        if not fault.process:
            raise UserError(f"fault={name} fault.target={fault.target}: it bends a way, not a process")
        return
    if fault.process and (
        server["name"] == "external" or (server.get("backends") and fault.target != SERVICE)
    ):
        raise UserError(f"{of}: it is somebody else's process; fault.target=pid:N names one of yours")
    known = [ANY, ALL, *([SERVICE] if fault.process else []), *names]
    if fault.way != "client" and fault.process | bool(fault.way) and fault.target not in known:
        raise UserError(f"fault.target={fault.target} is none of {', '.join(known)}")


def replicas(server: Mapping[str, Any]) -> list[str]:
    """The names of a balancer's replicas, none of another server."""
    if "backends" not in server:
        return []
    return list(server["backends"]) or [f"replica-{index}" for index in range(server["replicas"])]
