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
    return measured(plain, directory)


def measured(plain: dict[str, Any], directory: Path) -> Record:
    record = Record("serving", [], plain, "", {}, now())
    for part in ServingBenchmark(plain, directory).measure():
        record.add(part)
        assert isinstance(part, Level) or part.values
    return record


def test_the_short_soak_loses_nothing_answers_nothing_twice_and_leaves_nothing_behind(tmp_path: Path) -> None:
    plain = composed("experiment=soak", loadtest={"requests": 1200, "request_rate": 80.0}, fault={"times": 1})
    record = measured(plain | {"device": "cpu"}, tmp_path)
    (level,) = record.levels
    assert str(level["fault.what"]).endswith("was killed")
    assert (level["fault.count"], level["fault.lost"], level["answered_twice"], level["fault.unnoticed"]) == (
        4,
        0,
        0,
        0,
    )
    assert number(level["fault.left"]) > 0
    assert number(level["fault.whole_s"]) > 0
    assert record.results["residual.in_flight"] == record.results["residual.processes"] == 0


def test_what_a_service_alone_loses_is_counted_and_what_it_keeps_is_looked_for(tmp_path: Path) -> None:
    record = broken("batch", tmp_path, "kill", {"request_rate": 20.0, "requests": 60}, at_s=1.5)
    (level,) = record.levels
    assert level["fault.what"] == "the service was killed"
    errors = sum(number(count) for name, count in level.items() if name.startswith("errors."))
    assert number(level["failed"]) <= errors <= number(level["fault.lost"])
    assert number(level["fault.lost"]) > 10
    assert level["fault.whole_s"] is None
    assert record.samples["levels.0.timeline.lost_rps"][-1] > 0


def test_a_stopped_service_goes_on_and_nothing_of_the_load_stays_behind(tmp_path: Path) -> None:
    record = broken("batch", tmp_path, "stop", {"request_rate": 20.0, "requests": 60}, at_s=1.0, for_s=0.5)
    (level,) = record.levels
    assert (level["fault.lost"], level["failed"]) == (0, 0)
    assert number(level["e2e_ms.max"]) > 400
    assert {name: record.results[name] for name in record.results if name.startswith("residual.")} == {
        f"residual.{name}": 0 for name in ("processes", "threads", "files", "sockets", "in_flight")
    }
