"""Replica processes: started, watched, started again after a growing pause, drained in the end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mlsys.environment import VISIBLE_GPUS, visible_gpus
from mlsys.errors import UserError
from mlsys.progress import say
from mlsys.serving.balancer.backend import Backend
from mlsys.serving.balancer.backoff import Backoff
from mlsys.serving.balancer.hosts import WATCH_S, Hosts, Process
from mlsys.serving.balancer.options import Balancing, replica_options


def own_gpu(index: int, device: str) -> dict[str, str]:
    """The environment in which replica `index` sees one GPU of several: they take them in turn. Empty otherwise."""
    gpus = [] if device == "cpu" else visible_gpus()
    return {VISIBLE_GPUS: gpus[index % len(gpus)]} if len(gpus) > 1 else {}


class Replica:
    """One process and the backend that stands for it."""

    def __init__(
        self,
        index: int,
        backend: Backend,
        options: Balancing,
        config: dict[str, Any],
        directory: Path,
        hosts: Hosts,
    ) -> None:
        self.backend, self._options, self._directory, self._hosts = backend, options, directory, hosts
        self._config = {**config, "server": replica_options(options, index)}
        self._env = own_gpu(index, config["device"])
        backend.gpu = self._env.get(VISIBLE_GPUS)
        self._starts = 0
        self._backoff = Backoff(options.restart_min_s, options.restart_max_s)
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it, wait until it serves. Raises UserError, RuntimeError or TimeoutError if it does not."""
        log = self._directory / f"{self.backend.name}.{self._starts}.log"
        self._starts += 1
        self._process = self._hosts.process(self.backend.name, self._config, log, self._env)
        self._process.start()
        until = self._hosts.clock() + self._options.start_timeout_s
        while (address := self._process.address()) is None:
            if self._hosts.clock() > until:
                self._process.kill()
                raise TimeoutError(
                    f"{self.backend.name} did not serve within server.start_timeout_s (see {log})"
                )
            await asyncio.sleep(WATCH_S)
        self.backend.announce(address)

    async def keep(self) -> None:
        """Watch it for ever; when it dies, take it out at once and start it again after a pause."""
        while True:
            born = self._hosts.clock()
            if self._process is not None:
                await self._process.ended()
            self.backend.lose()
            pause_s = self._backoff.after(self._hosts.clock() - born)
            died = "has died" if self._process is None else self._process.ending()
            say(f"{self.backend.name} {died}; starting it again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            self.backend.restarts += 1
            try:
                await self.start()
            except (UserError, RuntimeError, TimeoutError, OSError) as error:
                say(str(error))

    async def stop(self, timeout_s: float) -> None:
        """SIGTERM, time to drain, then kill."""
        if self._process is not None:
            await asyncio.to_thread(self._process.terminate, timeout_s)


class Replicas:
    """All replicas of a balancer."""

    def __init__(self, replicas: list[Replica]) -> None:
        self._replicas = replicas
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all at once and wait for all; the first failure is raised. Then watch them."""
        await asyncio.gather(*(replica.start() for replica in self._replicas))
        self._keepers = [asyncio.create_task(replica.keep()) for replica in self._replicas]

    async def stop(self, timeout_s: float) -> None:
        """Stop watching, then stop them, all at once, with `timeout_s` to drain."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(replica.stop(timeout_s) for replica in self._replicas))
