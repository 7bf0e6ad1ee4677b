"""A whole serving experiment in virtual time: service, balancer, replicas and load, from one configuration."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.loadtest import collector, gate, question_file
from mlsys.loadtest.client_health import Watch
from mlsys.loadtest.generator import Generator
from mlsys.loadtest.options import split
from mlsys.loadtest.questions import Question
from mlsys.loadtest.spec import Spec
from mlsys.record import Level
from mlsys.serving.modes import Parts, Service
from mlsys.virtual.cost import Overheads, overheads
from mlsys.virtual.engine import Engine
from mlsys.virtual.fitting import fit
from mlsys.virtual.hosts import VirtualHosts
from mlsys.virtual.loop import VirtualLoop, step_by_step
from mlsys.virtual.pipeline import Bare, Library
from mlsys.virtual.time import VirtualTime
from mlsys.virtual.transport import InProcess, Turns

MANY_OBJECTS = 200_000  # rows are no garbage: looking through them again and again takes a fifth of the time
NO_LIMIT_S = 1e12
Event = dict[str, Any]
During = Callable[[VirtualHosts], Coroutine[Any, Any, None]]
Staged = Callable[[VirtualLoop, Service, VirtualHosts], None]


def simulate(
    config: Mapping[str, Any], asked: Sequence[Question] | None = None, during: During | None = None
) -> list[Level]:
    """The levels that a run with this configuration and `clock=virtual` would have, without files.

    `asked`: the questions; None: those of the corpus. `during` runs beside the load and may signal the replicas'
    processes. Raises UserError for a configuration that cannot be simulated.
    """
    found = events(config, specification(config, "", asked), during)
    return [Level(event["values"], event["samples"]) for event in found if event["event"] == "level"]


def fitted(config: Mapping[str, Any], *records: Path) -> dict[str, Any]:
    """The configuration with the costs that these real runs show. Raises UserError where they show too little."""
    return fit(*records).applied(config)


def specification(config: Mapping[str, Any], directory: str, asked: Sequence[Question] | None = None) -> Spec:
    """What the load generator is told. Raises UserError for a load that cannot be."""
    load, section = split(config["loadtest"])
    if "max_total_s" in section:  # a limit of the user's time, which is not what passes here
        section = section | {"max_total_s": NO_LIMIT_S}
    if load is None:
        raise UserError(f"clock=virtual needs a load: loadtest={section.get('name')} has none")
    if asked is None:
        asked = question_file.read(load.questions)[0] if load.questions else library(config).questions
    return Spec("virtual://", directory, section, asdict(load), config["seed"], None, True, list(asked))


def library(config: Mapping[str, Any]) -> Library:
    """The corpus's, loaded once in a process."""
    return _library(json.dumps(config["corpus"], sort_keys=True, default=str))


@functools.lru_cache(maxsize=4)
def _library(section: str) -> Library:
    return Library.of(json.loads(section))


def events(
    config: Mapping[str, Any], spec: Spec, during: During | None = None, staged: Staged | None = None
) -> Iterator[Event]:
    """The events of the load generator (`mlsys.loadtest.generator`), as they come.

    `staged` is told of a service that has started. Then all of it stays until the gate after the last level is opened.
    """
    check(config)
    fault = (config.get("fault") or {}).get("name", "none")
    if fault != "none" and staged is None:
        raise UserError(
            f"fault={fault}: a simulation within a program is broken by what it is given as `during`"
        )
    heard: list[Event] = []

    def work(loop: VirtualLoop) -> Coroutine[Any, Any, None]:
        def say(event: str, **content: Any) -> None:
            heard.append({"event": event, **content})
            loop.stop()

        return _World(config, spec, loop).run(say, during, staged)

    with collector.thresholds(young=MANY_OBJECTS):
        for _ in step_by_step(work):
            yield from heard
            heard.clear()


def check(config: Mapping[str, Any]) -> None:
    """Raise UserError for what has no virtual form."""
    server, generator = config["server"]["name"], config["generator"]["name"]
    if not hasattr(signatures.named("server", config["server"]), "service") or config["server"].get(
        "backends"
    ):
        raise UserError(
            f"clock=virtual simulates services of its own: server={server} with given addresses is none"
        )
    if generator != "simulated":
        raise UserError(
            f"clock=virtual generator={generator}: what it costs is not known; cost.from=RECORD takes it from a real "
            "run, generator=simulated states it"
        )
    overheads(config.get("cost") or {})


class _World:
    """One experiment in one loop."""

    def __init__(self, config: Mapping[str, Any], spec: Spec, loop: VirtualLoop) -> None:
        self.config, self.spec, self.loop = config, spec, loop
        self.library, self.time = library(config), VirtualTime(loop)
        self.costs: Overheads = overheads(config.get("cost") or {})
        self.hosts = VirtualHosts(self.service, loop.time, self.costs)

    def service(self, config: Mapping[str, Any], line: Turns) -> Service:
        """As `mlsys.serving.__main__` builds it, of parts that live in virtual time. `line`: its event loop."""
        mode = signatures.make("server", config["server"])
        if mode.engine_process:
            raise UserError("server.engine_process=true: with clock=virtual there are no processes")
        if mode.max_tokens is None:
            mode.max_tokens = config["generator"]["max_new_tokens"]
        parts = Parts(
            pipeline=lambda: self._pipeline(line),
            batching=lambda: self._made("batching"),
            scheduling=lambda: self._made("scheduling"),
            balancer=lambda: self._made("balancer"),
            config=dict(config),
            directory=Path(self.spec.directory),
            time=self.time,
            hosts=self.hosts,
        )
        service: Service = mode.service(parts)
        return service

    def _pipeline(self, line: Turns) -> Bare:
        made = dict(self.config["generator"]) | {"_target_": f"{Engine.__module__}.{Engine.__name__}"}
        engine = signatures.make("generator", made | {"sleep": self.loop.sleep, "clock": self.loop.time})
        engine.load("virtual", self.config["seed"])
        engine.follow(self.costs)
        ahead = self.config["device"] == "cuda"
        return Bare(engine, self.library, self.costs, self.loop.sleep, ahead, line.hold)

    def _made(self, group: str) -> Any:
        """A policy; one that has a clock of its own gets the loop's."""
        section = self.config[group]
        takes = inspect.signature(signatures.named(group, section)).parameters
        return signatures.make(group, section | ({"clock": self.loop.time} if "clock" in takes else {}))

    async def run(self, say: Callable[..., None], during: During | None, staged: Staged | None) -> None:
        """Start everything, send the load, stop everything."""
        balanced = "balancer_ms" if self.config["server"].get("replicas") else "loop_ms"
        line = Turns(self.loop.time, getattr(self.costs, balanced) / 1e3)
        service = self.service(self.config, line)
        await service.start()
        beside = [] if during is None else [asyncio.ensure_future(during(self.hosts))]
        if staged is not None:
            staged(self.loop, service, self.hosts)
        client, clock = self._client(service, line), self.loop.time
        await Generator(self.spec, client, say, clock, Unwatched, wall=clock).run()
        if staged is not None:
            await gate.passed(Path(self.spec.directory), gate.AFTER)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await service.close(drained=True)

    def _client(self, service: Service, line: Turns) -> InProcess:
        load, costs = self.spec.load, self.costs
        return InProcess(
            service,
            self.loop.time,
            load["k"],
            load["timeout_s"],
            load["stream"],
            line,
            Turns(self.loop.time, costs.client_ms / 1e3),
            costs.request_ms / 1e3,
            costs.dispatch_ms / 1e3,
            self.config["server"].get("default_timeout_ms"),
        )


class Unwatched(Watch):
    """A client that costs nothing is never late, whatever the collector does."""

    @staticmethod
    def prepare() -> None:
        """Nothing could disturb."""

    async def __aenter__(self) -> Unwatched:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing was measured."""
