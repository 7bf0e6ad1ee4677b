"""The serving benchmark: start the service, load it level by level, stop it, say what its engine can do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from mlsys import progress
from mlsys.errors import UserError
from mlsys.faults import stage
from mlsys.faults.conductor import Conductor
from mlsys.faults.disturbed import Disturbed
from mlsys.loadtest import announcing, apis, ceiling, children, engine_alone, question_file
from mlsys.loadtest.arrivals import Arrivals, make
from mlsys.loadtest.asked import bounded, check, expected_tokens, longest_answer
from mlsys.loadtest.corpus import questions
from mlsys.loadtest.lengths import Lengths
from mlsys.loadtest.options import split
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FILE_NAME
from mlsys.loadtest.service import Target
from mlsys.loadtest.spec import KEY_VARIABLE, Spec
from mlsys.record import Level, Results, Scalar
from mlsys.serving.process import READY

# When commands began: the process's first benchmark with the process, a sweep's later ones in their turn.
_beginnings = [time.perf_counter() - (time.time() - psutil.Process().create_time())]


class ServingBenchmark:
    """Built from the resolved configuration; writes `requests.parquet` and logs into `directory`."""

    kind = "serving"

    def __init__(self, config: Mapping[str, Any], directory: Path) -> None:
        """Raises UserError for bad options, before anything is loaded."""
        load, self._section = split(config["loadtest"])
        self.arrivals: Arrivals = make(self._section)
        self._asked, self._about = question_file.read(load.questions) if load and load.questions else ([], "")
        longest = (None, "") if load is None else longest_answer(load, self.arrivals.script, self._asked)
        self.config, self.directory = bounded(config, *longest), directory
        self.external = config["server"]["name"] == "external"
        self.ours = not self.external and not config["server"].get("backends")
        self.idle = self.arrivals.next_level([]) is None
        self.faults = stage.planned(self.config)
        self.disturbed: Disturbed | None = None
        if self.idle and self.external:
            raise UserError(
                "loadtest=none with server=external: there is nothing to start and nothing to send"
            )
        if self.idle:
            return
        if load is None:
            raise UserError(
                f"loadtest={self.arrivals.name} lacks what every load has: defaults: [_load, _self_]"
            )
        self.load = load
        if self.external and load.stream and not apis.make(config["server"]).streams:
            raise UserError(f"loadtest.stream=true: server.api={config['server']['api']} does not stream")
        if self.arrivals.needs_slo and not self.load.limits:
            raise UserError(f"loadtest.slo_ms=null: loadtest={self.arrivals.name} needs a latency to meet")
        check(load, self.arrivals.script, config)
        most = config["server"].get("max_k")
        if most is not None and self.load.k > most:
            raise UserError(
                f"loadtest.k={self.load.k} is more than server.max_k={most}, which the service answers"
            )

    def measure(self) -> Iterator[Results | Level]:
        """Yield start-up, each finished level, the last level as the run's results, the engine's ceiling."""
        self._began = _beginnings.pop() if _beginnings else time.perf_counter()
        asked = self._asked or (questions(self.config["corpus"]) if not self.idle else [])
        for about in (self.arrivals.script.about if self.arrivals.script else "", self._about):
            if about:
                progress.say(about)
        levels: list[Level] = []
        together: dict[str, Scalar] = {}
        with self.staged() as (service, conductor):
            if stage.watched(self.config) or self.faults:
                self.disturbed = Disturbed(conductor, service, self.directory)
            if self.idle:
                yield Results(self._describe(service))
                self._serve(service)
                return
            yield from self._first_answer(service, asked[0])
            for part in self._levels(service, self._known(service, asked)):
                if isinstance(part, Level):
                    levels.append(part)
                    yield part
                else:
                    together = dict(part.values)
            if self.disturbed:
                together |= self.disturbed.left()
        yield Results(of_all(levels) | together)
        if self.ours and (self.load.engine_ceiling or self.load.quality_questions):
            yield from engine_alone.measured(self.config, self.directory, self.load, levels)

    def staged(self) -> AbstractContextManager[tuple[Target, Conductor]]:
        """The service for as long as the body runs, and what breaks it."""
        return stage.running(self.config, self.directory, self.faults)

    def _serve(self, service: Target) -> None:
        try:
            print(f"{READY}{service.url}", flush=True)
            while True:
                service.check()
                time.sleep(0.2)
        except KeyboardInterrupt:
            progress.say("stopping")

    def _describe(self, service: Target) -> dict[str, Scalar]:
        stats = service.stats()
        described = {f"pipeline.{name}": value for name, value in stats.pipeline.items()}
        for name, value in described.items():
            if name.endswith((".warning", ".chosen")):
                progress.say(str(value))
        gpus = {f"replica.{name}.gpu": gpu for name, gpu in stats.gpus.items()}
        return {"startup_s": service.startup_s, **described, **gpus, **service.told}

    def _first_answer(self, service: Target, question: Question) -> Iterator[Results]:
        length = Lengths(self.load.output_tokens).drawn(self.config["seed"])(0) if self.external else None
        answer_ms = service.ask(question, self.load.k, self.load.timeout_s, length)
        since_command_ms = 1e3 * (time.perf_counter() - self._began)
        times = {"first_answer_ms": since_command_ms, "first_answer_e2e_ms": answer_ms}
        yield Results(self._describe(service) | times)

    def _known(self, service: Target, asked: list[Question]) -> list[Question]:
        """Somebody else's passage ids mean something else, unless it answers from the same corpus."""
        corpus = service.stats().pipeline.get("corpus.name") if self.external else None
        if not self.external or corpus == self.config["corpus"]["name"]:
            return asked
        return [replace(question, passage_id=None) for question in asked]

    def _levels(self, service: Target, asked: list[Question]) -> Iterator[Results | Level]:
        spec = Spec(
            url=service.url,
            directory=str(self.directory),
            arrivals=dict(self._section),
            load=asdict(self.load),
            seed=self.config["seed"],
            expected_tokens=expected_tokens(self.config),
            hang_up=not self.external,
            certificate=service.certificate,
            gated=self.disturbed is not None,
            leavers=[span for fault in self.faults if (span := fault.leavers())],
            questions=asked,
            server=dict(service.section),
        )
        self.directory.mkdir(parents=True, exist_ok=True)
        env = {KEY_VARIABLE: service.key} if service.key else None
        log = self.directory / "loadtest.log"
        alive = self.disturbed.check if self.disturbed else service.check
        yield from self.parts(children.events("mlsys.loadtest", spec.write(), log, env, alive))

    def parts(self, events: Iterator[dict[str, Any]]) -> Iterator[Results | Level]:
        """What the load generator's events say, with progress shown meanwhile."""
        with ExitStack() as shown:
            bar: progress.Step | None = None
            for event in events:
                if event["event"] == "begin":
                    shown.close()
                    title = announcing.title(self.config["server"]["name"], self.load, event)
                    bar = shown.enter_context(progress.step(title, event["total"]))
                    if self.disturbed:
                        self.disturbed.begin()
                elif event["event"] == "answered" and bar is not None:
                    bar.advance(event["count"])
                elif event["event"] == "level":
                    shown.close()
                    yield self._level(event)
                elif event["event"] == "end":
                    if self.arrivals.needs_slo:
                        announcing.found(self.load.limits, event["values"])
                    yield Results(event["values"])

    def _level(self, event: Mapping[str, Any]) -> Level:
        values = dict(event["values"])
        announcing.doubts(values)
        if self.ours:
            values["engine_batch"] = ceiling.batch_of(self.config, values.get("concurrency"))
        if self.ours and self.config["generator"]["name"] == "simulated":
            values |= self._predicted(values)
        if self.disturbed:
            found, course = self.disturbed.end()
            return Level(values | found, event["samples"] | course)
        return Level(values, event["samples"])

    def _predicted(self, values: Mapping[str, Any]) -> dict[str, Scalar]:
        """What theory says of the level just measured. What that takes is not imported before a service is there."""
        import pandas as pd

        from mlsys.loadtest import prediction

        rows = pd.read_parquet(self.directory / FILE_NAME)
        return prediction.beside(self.config, values, rows[rows["level"] == rows["level"].max()])


def of_all(levels: list[Level]) -> dict[str, Scalar]:
    """The last level's values of the names that every level has, and which level that was."""
    if not levels:
        return {}
    common = [name for name in levels[-1].values if all(name in level.values for level in levels)]
    return {"level": len(levels) - 1, **{name: levels[-1].values[name] for name in common}}
