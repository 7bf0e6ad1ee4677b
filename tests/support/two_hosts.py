"""Two hosts in one machine: Linux network namespaces with a cable between them, which a test may cut."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil
import pytest


@dataclass(frozen=True)
class Host:
    """One of the two: its namespace, its address and its end of the cable."""

    namespace: str
    address: str
    device: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """A program on this host, in a session of its own."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *command],
            env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": self.device, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def unplug(self) -> None:
        """Take the host's address away: what is sent to it is lost, and the other side's cable looks well."""
        _ip("-n", self.namespace, "address", "flush", "dev", self.device)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach each other and nobody else. Skips the test where namespaces are not permitted."""
    name = f"mlsys{os.getpid()}"
    hosts = tuple(
        Host(f"{name}{end}", f"10.77.0.{n}", f"v{os.getpid()}{end}") for n, end in ((1, "a"), (2, "b"))
    )
    _need_namespaces(hosts)
    try:
        first, second = hosts
        _ip("link", "add", first.device, "type", "veth", "peer", "name", second.device)
        for host in hosts:
            _ip("link", "set", host.device, "netns", host.namespace)
            _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", host.device)
            for device in ("lo", host.device):
                _ip("-n", host.namespace, "link", "set", device, "up")
        yield first, second
    finally:
        for host in hosts:
            _end_all(host)
            subprocess.run(["ip", "netns", "delete", host.namespace], check=False, capture_output=True)


def _need_namespaces(hosts: tuple[Host, ...]) -> None:
    if shutil.which("ip") is None:
        pytest.skip("network namespaces take the program ip (iproute2)")
    for host in hosts:
        made = subprocess.run(["ip", "netns", "add", host.namespace], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"network namespaces are not permitted here: {made.stderr.strip()}")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _end_all(host: Host) -> None:
    """End what still runs on a host."""
    found = subprocess.run(
        ["ip", "netns", "pids", host.namespace], capture_output=True, text=True, check=False
    )
    for number in map(int, found.stdout.split()):
        if psutil.pid_exists(number):
            psutil.Process(number).kill()
    for process in host.started:
        with process:  # waits, and closes its pipes
            process.kill()
