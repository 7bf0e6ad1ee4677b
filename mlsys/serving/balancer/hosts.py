"""Where a balancer's replicas run and how they are asked: processes of this machine over HTTP, or another world."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from mlsys.serving.balancer.calls import Calls, HttpCalls
from mlsys.serving.balancer.options import Balancing
from mlsys.serving.process import ChildProcess
from mlsys.serving.request import Clock

WATCH_S = 0.05


class Process(Protocol):
    """One replica's process, as `mlsys.serving.process.ChildProcess` is."""

    def start(self) -> None: ...  # noqa: D102
    def address(self) -> str | None: ...  # noqa: D102
    def ending(self) -> str: ...  # noqa: D102
    def terminate(self, timeout_s: float) -> int: ...  # noqa: D102
    def kill(self) -> int: ...  # noqa: D102

    async def ended(self) -> None:
        """Return when it has ended."""


class Hosts(Protocol):
    """`clock` gives seconds. `log` names the file that a process writes to."""

    clock: Clock

    def calls(self, options: Balancing) -> Calls:
        """What asks the replicas."""

    def process(self, name: str, config: Mapping[str, Any], log: Path, env: Mapping[str, str]) -> Process:
        """The process of a replica with this configuration, not yet started."""


class LocalProcess(ChildProcess):
    """A child that is watched from an event loop."""

    async def ended(self) -> None:
        """Look now and then."""
        while self.alive:
            await asyncio.sleep(WATCH_S)


class LocalHosts:
    """This machine."""

    clock: Clock = staticmethod(time.monotonic)

    def calls(self, options: Balancing) -> Calls:
        """Over HTTP."""
        return HttpCalls(options.connect_timeout_s, options.stream_gap_s)

    def process(self, name: str, config: Mapping[str, Any], log: Path, env: Mapping[str, str]) -> Process:
        """`python -m mlsys.serve`, its configuration in a file beside its log that only its owner may read."""
        path = log.parent / f"{name}.yaml"
        path.write_text(yaml.safe_dump(dict(config)))
        path.chmod(0o600)
        return LocalProcess([sys.executable, "-m", "mlsys.serve", str(path)], env, log)
