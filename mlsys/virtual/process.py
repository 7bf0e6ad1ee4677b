"""A replica in virtual time: a service in this very process that starts, is held and dies as a process does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from typing import Any

from mlsys.serving.balancer.hosts import WATCH_S
from mlsys.serving.modes import Service
from mlsys.serving.request import Clock
from mlsys.virtual.cost import Overheads
from mlsys.virtual.transport import Turns

Build = Callable[[Mapping[str, Any], Turns], Service]  # of a configuration, and of its process's event loop
STARTING = "virtual://"


class VirtualProcess:
    """One replica. It is `ready` when `start_s` have passed and its service has started.

    `signal` takes what a process of the system would: SIGKILL ends it, SIGTERM when what is inside has its answer,
    SIGSTOP and SIGCONT hold it. A batch that has begun ends in its time all the same; its answers are held.
    """

    def __init__(
        self, name: str, config: Mapping[str, Any], build: Build, clock: Clock, costs: Overheads
    ) -> None:
        self.name, self._config, self._build, self._clock = name, config, build, clock
        self.inside = 0  # requests that have no answer yet
        self.line = Turns(clock, costs.loop_ms / 1e3)
        self._start_s = costs.start_s
        self.service: Service | None = None
        self.running = asyncio.Event()
        self.ready = False
        self._over, self._ended_by = asyncio.Event(), 0
        self._tasks = set[asyncio.Task[None]]()

    def start(self) -> None:
        """Begin to load."""
        self.running.set()
        self._later(self._serve())

    async def _serve(self) -> None:
        if self._start_s:
            await asyncio.sleep(self._start_s)
        self.service = self._build(self._config, self.line)
        await self.service.start()
        self.ready = True

    def address(self) -> str | None:
        """Where it answers; None before it is ready. Raises RuntimeError once it has ended."""
        if not self.alive:
            raise RuntimeError(f"{self.name} {self.ending()}")
        return STARTING + self.name if self.ready else None

    @property
    def alive(self) -> bool:
        """Whether it runs, or is held."""
        return not self._over.is_set()

    def ending(self) -> str:
        """How it ended."""
        return f"was ended by {signal.Signals(self._ended_by or signal.SIGKILL).name}"

    async def ended(self) -> None:
        """At once when it has."""
        await self._over.wait()

    def signal(self, number: int) -> None:
        """See the class."""
        if number == signal.SIGSTOP:
            self.running.clear()
        elif number == signal.SIGCONT:
            self.running.set()
        elif self.alive:
            self.ready = False
            if number == signal.SIGTERM:
                self._later(self._drained())
            else:
                self._end(number)

    async def _drained(self) -> None:
        until = self._clock() + self._config["server"]["drain_timeout_s"]
        if self.service is not None:
            self.service.drain()
        while self.inside and self._clock() < until:
            await asyncio.sleep(WATCH_S)
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if not self.alive:
            return
        self._ended_by = number
        self._over.set()
        if self.service is not None:
            self._later(self.service.close(drained=False))

    def terminate(self, timeout_s: float) -> int:
        """As the end of a run does, when nothing is inside."""
        self.ready = False
        self._end(signal.SIGTERM)
        return 0

    def kill(self) -> int:
        """At once."""
        self.signal(signal.SIGKILL)
        return -signal.SIGKILL

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
