"""`clock=virtual`: the serving benchmark without a process, a socket or a second of waiting."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlsys import progress
from mlsys.errors import UserError
from mlsys.faults import stage
from mlsys.faults.conductor import Conductor
from mlsys.faults.disturbed import Disturbed
from mlsys.loadtest import gate
from mlsys.loadtest.benchmark import ServingBenchmark, of_all
from mlsys.loadtest.service import Target
from mlsys.record import Level, Results, Scalar
from mlsys.serving.modes import Service
from mlsys.virtual import scene, simulate
from mlsys.virtual.beside import Beside
from mlsys.virtual.fitting import Fitted, fit
from mlsys.virtual.hosts import VirtualHosts
from mlsys.virtual.loop import VirtualLoop

CLOCK = "virtual"


class VirtualBenchmark(ServingBenchmark):
    """What `ServingBenchmark` measures, simulated: the same levels, in a record that says so."""

    def __init__(self, config: Mapping[str, Any], directory: Path) -> None:
        """Raises UserError for what cannot be simulated."""
        self.fitted: Fitted | None = None
        if (source := (config.get("cost") or {}).get("from")) is not None:
            self.fitted = fit(Path(source))
            config = self.fitted.applied(config)
        super().__init__(config, directory)
        if self.idle:
            raise UserError("loadtest=none clock=virtual: nothing would ever happen")
        simulate.check(self.config)
        for fault in self.faults:
            scene.check(fault, self.config)
        self.beside: Beside | None = None

    def measure(self) -> Iterator[Results | Level]:
        """Yield what is simulated and by which costs, each level, the last one as the run's results."""
        yield Results({"clock": CLOCK} | ({} if self.fitted is None else self.fitted.described()))
        self.directory.mkdir(parents=True, exist_ok=True)
        spec = simulate.specification(self.config, str(self.directory))
        broken = stage.watched(self.config)
        leavers = [span for fault in self.faults if (span := fault.leavers())]
        spec = replace(spec, gated=broken, leavers=leavers)
        spec.write()
        levels: list[Level] = []
        together: dict[str, Scalar] = {}
        began_s = time.process_time()
        try:
            for part in self.parts(simulate.events(self.config, spec, None, self._stage if broken else None)):
                if isinstance(part, Level):
                    levels.append(part)
                    yield part
                else:
                    together = dict(part.values)
                    if broken:
                        gate.open_for(self.directory, gate.AFTER)
        finally:
            if self.beside is not None:
                self.beside.close()
        yield Results(of_all(levels) | together)
        sent = sum(int(level.values["requests"] or 0) for level in levels)
        rate = sent / max(time.process_time() - began_s, 1e-9)
        progress.say(f"simulated {sent} requests, {rate:.0f} a second of CPU time")
        yield Results({"results_digest": digest(levels), "simulation.requests_per_cpu_s": rate})

    def _stage(self, loop: VirtualLoop, service: Service, hosts: VirtualHosts) -> None:
        """The service has started: the same conductor as in real time, on the loop's clock."""
        self.beside = Beside(loop)
        conductor = Conductor(self.faults, scene.VirtualScene(loop, service, hosts), self.beside)
        self.disturbed = Disturbed(conductor, Target("virtual://", None, None, None), self.directory)


def digest(levels: list[Level]) -> str:
    """sha256 of what the levels say: the same for one configuration and seed."""
    text = json.dumps([dict(level.values) for level in levels], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
