"""Replica processes: started, watched, started again after a pause, replaced by new ones, drained in the end."""

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
        self._index, self._config = index, {**config, "server": replica_options(options, index)}
        self._env = own_gpu(index, config["device"])
        backend.gpu = self._env.get(VISIBLE_GPUS)
        self._starts = 0
        self._backoff = Backoff(options.restart_min_s, options.restart_max_s)
        self._process: Process | None = None
        self._changing = asyncio.Lock()  # one process is started at a time

    async def start(self) -> None:
        """Start it, wait until it serves. Raises UserError, RuntimeError or TimeoutError if it does not."""
        async with self._changing:
            await self._begin()

    async def renew(self, options: Balancing, config: dict[str, Any]) -> tuple[Balancing, dict[str, Any]]:
        """Put a process with another configuration in its place; requests go on meanwhile, and those that run end.

        Returns what it ran with. Raises as `start`, and then the old process stays.
        """
        async with self._changing:
            before = self._options, self._config
            renewed = {**config, "server": replica_options(options, self._index)}
            process, address = await self._started(renewed)
            old, running = self._process, set(self.backend.attempts)
            self._process, self._options, self._config = process, options, renewed
            self.backend.announce(self._options.via.get(self.backend.name, address))
        if running:
            await asyncio.wait(running, timeout=options.drain_timeout_s)
        if old is not None:
            await asyncio.to_thread(old.terminate, options.drain_timeout_s)
        return before

    async def _begin(self) -> None:
        self._process, address = await self._started(self._config)
        self.backend.announce(self._options.via.get(self.backend.name, address))

    async def _started(self, config: dict[str, Any]) -> tuple[Process, str]:
        log = self._directory / f"{self.backend.name}.{self._starts}.log"
        self._starts += 1
        process = self._hosts.process(self.backend.name, config, log, self._env)
        process.start()
        try:
            return process, await self._address(process, log)
        except BaseException:
            process.kill()
            raise

    async def _address(self, process: Process, log: Path) -> str:
        until = self._hosts.clock() + self._options.start_timeout_s
        while (address := process.address()) is None:
            if self._hosts.clock() > until:
                raise TimeoutError(
                    f"{self.backend.name} did not serve within server.start_timeout_s (see {log})"
                )
            await asyncio.sleep(WATCH_S)
        return address

    async def keep(self) -> None:
        """Watch it for ever; when it dies, take it out at once and start it again after a pause."""
        while True:
            born = self._hosts.clock()
            if (watched := self._process) is not None:
                await watched.ended()
            if self._process is not watched:
                continue  # another one has taken its place
            self.backend.lose()
            pause_s = self._backoff.after(self._hosts.clock() - born)
            died = "has died" if self._process is None else self._process.ending()
            say(f"{self.backend.name} {died}; starting it again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            try:
                await self._revive(watched)
            except (UserError, RuntimeError, TimeoutError, OSError) as error:
                say(str(error))

    async def _revive(self, dead: Process | None) -> None:
        """Start it again, unless a new one has taken its place meanwhile."""
        async with self._changing:
            if self._process is dead:
                self.backend.restarts += 1
                await self._begin()

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

    async def renew(self, options: Balancing, config: dict[str, Any]) -> None:
        """Replace one after the other. Raises as `Replica.renew`, once those that were replaced are as they were."""
        replaced: list[tuple[Replica, tuple[Balancing, dict[str, Any]]]] = []
        for replica in self._replicas:
            try:
                replaced.append((replica, await replica.renew(options, config)))
            except (UserError, RuntimeError, TimeoutError, OSError):
                for changed, before in reversed(replaced):
                    await changed.renew(*before)
                raise

    async def stop(self, timeout_s: float) -> None:
        """Stop watching, then stop them, all at once, with `timeout_s` to drain."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(replica.stop(timeout_s) for replica in self._replicas))
