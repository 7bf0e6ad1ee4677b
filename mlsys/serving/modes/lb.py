"""`server=lb`: a balancer in front of replicas that it starts and keeps alive, or of given addresses.

It is the same line one level up: admission, policy (which replica instead of which batch), proxy, answer.
It loads no model. Nothing waits here: the replicas have the queues, the balancer bounds what is in flight.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict
from typing import Any

from mlsys.errors import UserError
from mlsys.progress import step
from mlsys.serving.balancer import Policy
from mlsys.serving.balancer.backend import Backend, Backends
from mlsys.serving.balancer.budget import RetryBudget
from mlsys.serving.balancer.checks import Checks
from mlsys.serving.balancer.door import Door
from mlsys.serving.balancer.hosts import Hosts, LocalHosts
from mlsys.serving.balancer.meters import meter
from mlsys.serving.balancer.options import Balancing
from mlsys.serving.balancer.proxy import Proxy
from mlsys.serving.balancer.replicas import Replica, Replicas
from mlsys.serving.meters import TALLIES, Meters
from mlsys.serving.modes import RAG, Answer, Names, Parts, Service
from mlsys.serving.options import Server
from mlsys.serving.parts import check
from mlsys.serving.request import Request, Unavailable

STATS_TIMEOUT_S = 2.0


def _counts(field: Any) -> dict[str, int]:
    """What of a replica's counters are counters: a given address may be anybody's."""
    if not isinstance(field, dict):
        return {}
    return {name: count for name, count in field.items() if type(count) is int and count >= 0}


def _names(config: dict[str, Any]) -> Names:
    return Names([RAG, config["generator"]["name"]], [config["embedder"]["name"]])


class LoadBalancer(Balancing):
    """Its knobs are those of every balancer."""

    def service(self, parts: Parts) -> Service:
        """Replicas of `server.replica`, or `server.backends`, behind the chosen balancing policy."""
        given = self.backends
        names = given or [f"replica-{index}" for index in range(self.replicas)]
        reached = [self.via.get(address, address).rstrip("/") for address in given]
        urls: list[str | None] = [*reached] or [None] * len(names)
        hosts = parts.hosts or LocalHosts()
        if not given:
            check(parts.config)
        backends = [Backend(name, url, self, hosts.clock) for name, url in zip(names, urls, strict=True)]
        replicas = [] if given else [
            Replica(index, backend, self, parts.config, parts.directory, hosts)
            for index, backend in enumerate(backends)
        ]  # fmt: skip
        own = None if given else _names(parts.config)
        return Balancer(self, backends, parts.balancer(), replicas, own, hosts)


class Balancer:
    """The service: what `Scheduler` is to an engine, this is to replicas."""

    def __init__(
        self,
        options: Balancing,
        backends: list[Backend],
        policy: Policy,
        replicas: list[Replica],
        names: Names | None,
        hosts: Hosts,
    ) -> None:
        self._names, self._clock = names, hosts.clock
        self.options = options
        self.backends = Backends(backends, policy, hosts.clock, options.hang_factor)
        self.replicas = Replicas(replicas)
        budget = RetryBudget(options.retry_share, options.retry_burst)
        self.calls = hosts.calls(options)
        self.proxy = Proxy(self.backends, budget, self.calls, options.silent_s, hosts.clock)
        self.door = Door(options.max_queue * len(backends), options.fair_keys)
        self.meters = Meters()
        meter(self.meters, self.backends, self.proxy)
        self._state = "loading"
        self._checks: Checks | None = None

    async def start(self) -> None:
        """Start the replicas, wait for all of them, begin checking."""
        await self.calls.__aenter__()
        with step(f"starting {len(self.backends.all)} replicas"):
            await self.replicas.start()
        self._checks = Checks(self.backends.all, self.options, self.calls, self._clock)
        self._state = "ready"

    async def renew(self, options: Server, config: dict[str, Any]) -> None:
        """Replicas with another configuration, one after the other. Raises UserError where it is the balancer's own."""
        if self.options.backends:
            raise UserError("server.backends are processes of somebody else: nothing here can be reloaded")
        if not isinstance(options, Balancing):
            raise UserError(f"server={options.name} is no balancer: a reload does not change the mode")
        old, new = ({**asdict(o), "replica": None} for o in (self.options, options))
        for knob in old:
            if old[knob] != new.get(knob):
                told = f"{old[knob]} to {new.get(knob)}"
                raise UserError(f"server.{knob} is the balancer's own, from {told} needs a new start")
        await self.replicas.renew(options, config)
        self._names = _names(config)

    async def names(self) -> Names:
        """Those of the replicas; of given addresses, what one of them says that it has."""
        if self._names is None:
            for backend in self.backends.available():
                listed = (await self._told(backend, "/v1/models")).get("data")
                models = listed if isinstance(listed, list) else []
                ids = [model.get("id") for model in models if isinstance(model, dict)]
                if names := [name for name in ids if isinstance(name, str)]:
                    self._names = Names(names, None)
                    break
            else:
                raise Unavailable("no replica says what its models are", 1)
        return self._names

    def state(self) -> str:
        """`ready` with at least one replica up, else `down`; `loading`, `draining`."""
        if self._state == "ready" and not self.backends.available():
            return "down"
        return self._state

    def check(self, client: str = "") -> None:
        """Raise Unavailable or Refused if nothing of `client` can enter."""
        if (state := self.state()) != "ready":
            raise Unavailable(
                f"the service is {state}", self.door.admission.retry_after_s(self.door.in_flight)
            )
        self.door.check(client)

    async def answer(self, request: Request) -> Answer:
        """Let a replica answer, within the request's deadline."""
        self.check(request.wish.client)
        return await self.door.let(request, self._forwarded)

    async def _forwarded(self, request: Request) -> Answer:
        started, beside = self._clock(), self.door.in_flight
        answer = await self.proxy.forward(request)
        if answer.status == 200:  # Little's law: as many as were in flight are served in one latency
            self.door.admission.served(beside, self._clock() - started)
        return answer

    async def stats(self) -> dict[str, Any]:
        """The balancer's counters, those of its replicas beside each and summed, and what the pipelines
        are.
        """
        inner = await asyncio.gather(*(self._told(backend, "/stats") for backend in self.backends.all))
        sums: dict[str, Counter[str]] = {name: Counter() for name in TALLIES}
        for name, total in sums.items():
            for stats in inner:
                total.update(_counts(stats.get(name)))
        return {
            "mode": self.options.name,
            "state": self.state(),
            **self.meters.stats(),
            **{name: dict(total) for name, total in sums.items()},
            "balancer": self.backends.policy.name,
            "retries": self.proxy.retries,
            "replicas": {backend.name: backend.stats() for backend in self.backends.all},
            "pipeline": next(
                (stats["pipeline"] for stats in inner if isinstance(stats.get("pipeline"), dict)), {}
            ),
        }

    async def _told(self, backend: Backend, path: str) -> dict[str, Any]:
        if backend.url is None:
            return {}
        return await self.calls.told(backend, path, STATS_TIMEOUT_S)

    def drain(self) -> None:
        """Refuse what comes from now on."""
        self._state = "draining"

    async def close(self, drained: bool) -> None:
        """Stop checking, stop the replicas, close connections."""
        if self._checks is not None:
            await self._checks.stop()
        await self.replicas.stop(self.options.drain_timeout_s if drained else 0)
        await self.calls.__aexit__(None, None, None)
