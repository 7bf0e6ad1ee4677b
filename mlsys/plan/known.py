"""What records of real runs tell a planner: what batches cost, up to which size, and how far off the model is on them.

The model is held against the very levels that it was fitted to: each is simulated as it was run, and the percentile
that is asked for compared with the measured one. That error is what an interval of a plan begins with.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsys import progress, signatures
from mlsys import record as records
from mlsys.errors import UserError
from mlsys.plan.objective import Objective
from mlsys.record import Record
from mlsys.report.rows import finite
from mlsys.virtual.cost import overheads
from mlsys.virtual.renewed import renewed
from mlsys.virtual.simulate import fitted, simulate

MOST_LEVELS = 8  # of a record, to be simulated again
ENOUGH = 600  # requests of each
FITTED = ("generator", "cost", "device")
RATES = ("poisson", "constant", "burst", "slo_search")


@dataclass(frozen=True)
class Known:
    """The records of one mode. `config`: that of the last with the costs that all of them show.

    `largest`: batch seen. `off`: of each level that was simulated again, predicted over measured − 1.
    """

    mode: str
    records: Sequence[Record]
    config: Mapping[str, Any]
    largest: int
    off: Sequence[float] = ()

    @property
    def record(self) -> Record:
        """The last one."""
        return self.records[-1]

    @property
    def levels(self) -> list[dict[str, Any]]:
        """Of all records."""
        return [level for record in self.records for level in record.levels]

    @property
    def error(self) -> float:
        """How far off the model is at half of the levels; 0 where none could be simulated."""
        return statistics.median(map(abs, self.off)) if self.off else 0.0

    def cost_ms(self, size: int) -> float:
        """What a batch keeps the worker busy, by the fit, at least."""
        around = overheads(self.config.get("cost") or {})
        engine = signatures.make("generator", self.config["generator"]).cost_ms(size)
        return float(engine * around.factor(size) + around.batch_ms + around.batch_request_ms * size)


def read(paths: Sequence[Path], objective: Objective) -> list[Known]:
    """What the serving records in and below `paths` tell, by mode. Raises UserError where there are none."""
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is not there")
    found = records.find(path.parent if path.is_file() else path for path in paths)
    modes: dict[str, list[tuple[Path, Record]]] = {}
    for place, one in found:
        if one.workload == "serving" and one.status == "ok" and one.levels:
            modes.setdefault(_mode(one), []).append((place, one))
    if not modes:
        raise UserError(
            f"no serving run with a load in {', '.join(map(str, paths))}: python run.py server=batch …"
        )
    known = list[Known]()
    for mode, each in modes.items():
        try:
            known.append(_known(mode, each, objective))
        except UserError as error:  # of another service perhaps, which tells nothing of its stages
            progress.say(f"the records of server={mode} are left out: {error}")
    if not known:
        raise UserError("none of the records tells what a batch costs")
    return known


def _mode(record: Record) -> str:
    """Of its service, behind a balancer that of a replica."""
    server = record.config["server"]
    return str(server["replica"] if server["name"] == "lb" else server["name"])


def _known(mode: str, found: Sequence[tuple[Path, Record]], objective: Objective) -> Known:
    places, each = [place for place, _ in found], [record for _, record in found]
    config = fitted(renewed(each[-1].config), *places)
    sizes = [level.get("batch_size.max") for record in each for level in record.levels]
    largest = max((int(size) for size in sizes if finite(size)), default=1)
    off = [error for record in each for error in _errors(record, config, objective)]
    return Known(mode, each, config, largest, off)


def _errors(record: Record, fit: Mapping[str, Any], objective: Objective) -> Iterator[float]:
    """Of each level that was valid; none of a load that cannot be simulated by itself."""
    config = renewed(record.config) | {part: fit[part] for part in FITTED}
    for level in record.levels[:MOST_LEVELS]:
        measured = level.get(f"e2e_ms.{objective.figure}")
        if not finite(measured) or level.get("valid") is False or (load := _load(record, level)) is None:
            continue
        with progress.silent():
            (again,) = simulate({**config, "loadtest": load})
        predicted = again.values.get(f"e2e_ms.{objective.figure}")
        if finite(predicted):
            yield predicted / measured - 1


def _load(record: Record, level: Mapping[str, Any]) -> dict[str, Any] | None:
    """The level alone: a search for a rate was of independent users at each."""
    load = dict(renewed(record.config)["loadtest"]) | {"repeats": 1}
    load["requests"] = min(ENOUGH, int(level.get("requests") or ENOUGH))
    if load["name"] == "closed":
        return load | {"concurrency": level["concurrency"]}
    if load["name"] not in RATES:
        return None
    if load["name"] == "slo_search":
        ours = ("share", "tolerance", "confirm", "max_levels", "max_total_s")
        kept = {knob: value for knob, value in load.items() if knob not in ours}
        load = kept | {"name": "poisson", "_target_": "mlsys.loadtest.arrivals.poisson.Poisson"}
    return load | {"request_rate": level["offered_rate_rps"]}
