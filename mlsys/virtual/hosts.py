"""Where a balancer's replicas are in virtual time, and how they are asked: directly, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from mlsys.serving.balancer.backend import Backend
from mlsys.serving.balancer.calls import Broken, Heard
from mlsys.serving.balancer.options import Balancing
from mlsys.serving.modes import Answer, Service
from mlsys.serving.request import Clock, Request, ServiceError
from mlsys.serving.stream import Stream
from mlsys.virtual.cost import Overheads
from mlsys.virtual.process import STARTING, Build, VirtualProcess
from mlsys.virtual.transport import Told
from mlsys.virtual.way import STRAIGHT, Way


class VirtualHosts:
    """All replicas of one balancer, by address, and the ways to them, by name. `build` makes a replica's service."""

    def __init__(self, build: Build, clock: Clock, costs: Overheads) -> None:
        self.clock, self._build, self._costs = clock, build, costs
        self.processes: dict[str, VirtualProcess] = {}
        self.ways: dict[str, Way] = {}

    def calls(self, options: Balancing) -> VirtualCalls:
        """Directly."""
        return VirtualCalls(self)

    def process(
        self, name: str, config: Mapping[str, Any], log: Path, env: Mapping[str, str]
    ) -> VirtualProcess:
        """The latest of this name is the one that is asked."""
        made = VirtualProcess(name, config, self._build, self.clock, self._costs)
        self.processes[STARTING + name] = made
        self.ways.setdefault(name, Way(name))
        return made

    def reached(self, backend: Backend) -> tuple[VirtualProcess, Service]:
        """Who listens there. Raises Broken where nobody does."""
        process = self.processes.get(backend.url or "")
        if process is None or process.service is None or not process.alive:
            raise Broken(f"{backend.name}: nobody listens")
        return process, process.service


class VirtualCalls:
    """Asks the services of `hosts`."""

    def __init__(self, hosts: VirtualHosts) -> None:
        self._hosts = hosts

    async def __aenter__(self) -> VirtualCalls:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    async def ask(self, backend: Backend, request: Request, heard: Heard) -> Answer:
        """A request of the replica's own, as it would make one of what it reads."""
        process, service = self._hosts.reached(backend)
        way = self._hosts.ways[backend.name]
        if way.rule is not STRAIGHT:
            await way.passes(answer=False)
        process.inside += 1
        try:
            answer = await self._asked(process, service, backend, request, heard)
        finally:
            process.inside -= 1
        if way.rule is not STRAIGHT:
            await way.passes(answer=True)
        return answer

    async def _asked(
        self, process: VirtualProcess, service: Service, backend: Backend, request: Request, heard: Heard
    ) -> Answer:
        if not process.running.is_set():
            await process.running.wait()
        remaining_s = request.remaining_s
        stream = None if request.stream is None else _Relayed(request.stream, backend)
        asked = Request(
            request.query,
            request.k,
            None if remaining_s is None else max(1.0, remaining_s * 1000),
            self._hosts.clock,
            request.counted,
            request.wish,
            stream,
            request.form,
        )
        try:
            answer = await service.answer(asked)
        except ServiceError as error:
            after = None if error.retry_after_s is None else str(error.retry_after_s)
            return Answer(b"", error.status, backend.name, after)
        if not process.running.is_set():
            await process.running.wait()
        if process.line.takes_s:
            await process.line.take()
        heard(answer.passages)
        if isinstance(request.form, Told):
            request.form.request = asked
        return answer if answer.replica == backend.name else replace(answer, replica=backend.name)

    async def check(self, backend: Backend, path: str, timeout_s: float) -> int:
        """Its service's state."""
        process, service = self._hosts.reached(backend)
        way = self._hosts.ways[backend.name]
        if process.running.is_set() and way.rule is STRAIGHT:
            return 200 if service.state() == "ready" else 503
        async with asyncio.timeout(timeout_s):
            await way.passes(answer=False)
            if not process.running.is_set():
                await process.running.wait()
            await way.passes(answer=True, posted=False)
        return 200 if service.state() == "ready" else 503

    async def probe(self, backend: Backend, question: dict[str, Any], timeout_s: float) -> int:
        """A real question."""
        async with asyncio.timeout(timeout_s):
            request = Request(question["query"], question["k"], clock=self._hosts.clock, form=Told())
            return (await self.ask(backend, request, lambda passages: None)).status

    async def told(self, backend: Backend, path: str, timeout_s: float) -> dict[str, Any]:
        """Its service's counters."""
        try:
            return await self._hosts.reached(backend)[1].stats()
        except Broken:
            return {}


class _Relayed(Stream):
    """A replica's stream: the first whose text comes has the client's."""

    def __init__(self, client: Stream, backend: Backend) -> None:
        super().__init__()
        self._client, self._backend = client, backend

    def write(self, text: str, tokens: int | None) -> None:
        """Pass it on, unless another replica was first."""
        if self._client.replica in (None, self._backend.name):
            self._client.replica = self._backend.name
            self._backend.silence.heard()
            self._client.write(text, tokens)
