"""Services that are broken while they run: real processes, a generator whose cost is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scalars import number
from sections import composed, simulated

from mlsys.loadtest.benchmark import ServingBenchmark
from mlsys.record import Level, Record, now

pytestmark = pytest.mark.slow

QUIET = {"engine_ceiling": False, "quality_questions": 0, "warmup_requests": 5, "timeout_s": 10.0}


def broken(server: str, directory: Path, fault: str, load: dict[str, Any], **knobs: Any) -> Record:
    plain = simulated(
        server, "poisson", loadtest=QUIET | load, generator={"base_ms": 100.0, "per_token_ms": 0.0}
    )
    plain |= {"fault": composed(f"fault={fault}")["fault"] | knobs}
    if server == "lb":
        plain["server"] |= {"replicas": 2}
    record = Record("serving", [], plain, "", {}, now())
    for part in ServingBenchmark(plain, directory).measure():
        record.add(part)
        assert isinstance(part, Level) or part.values
    return record


def test_behind_a_balancer_nothing_is_lost_when_one_replica_hangs_and_another_dies(tmp_path: Path) -> None:
    faults = [{"name": "hang", "at_s": 2.0, "for_s": 2.0, "target": "replica-0"}]
    faults += [{"name": "kill", "at_s": 5.0, "target": "replica-1"}]
    load = {"request_rate": 20.0, "requests": 140}
    (level,) = broken("lb", tmp_path, "schedule", load, faults=faults).levels
    assert (level["fault.count"], level["fault.lost"], level["answered_twice"], level["fault.unnoticed"]) == (
        2,
        0,
        0,
        0,
    )
    assert str(level["fault.what"]).endswith("; replica-1 was killed")
    assert number(level["fault.noticed_s"]) > 0
    assert number(level["fault.whole_s"]) > 0


def test_what_a_service_alone_loses_is_counted_and_what_it_keeps_is_looked_for(tmp_path: Path) -> None:
    record = broken("batch", tmp_path, "kill", {"request_rate": 20.0, "requests": 60}, at_s=1.5)
    (level,) = record.levels
    assert level["fault.what"] == "the service was killed"
    errors = sum(number(count) for name, count in level.items() if name.startswith("errors."))
    assert number(level["failed"]) <= errors <= number(level["fault.lost"])
    assert number(level["fault.lost"]) > 10
    assert record.samples["levels.0.timeline.lost_rps"][-1] > 0


def test_a_stopped_service_goes_on_and_nothing_of_the_load_stays_behind(tmp_path: Path) -> None:
    record = broken("batch", tmp_path, "stop", {"request_rate": 20.0, "requests": 60}, at_s=1.0, for_s=0.5)
    (level,) = record.levels
    assert (level["fault.lost"], level["failed"]) == (0, 0)
    assert number(level["e2e_ms.max"]) > 400
    assert {name: record.results[name] for name in record.results if name.startswith("residual.")} == {
        f"residual.{name}": 0 for name in ("processes", "threads", "files", "sockets", "in_flight")
    }
