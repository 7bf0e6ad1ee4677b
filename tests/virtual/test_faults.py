"""What is broken in virtual time: the faults, the conductor and the figures of real time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scalars import number
from sections import composed, simulated

from mlsys import progress
from mlsys.errors import UserError
from mlsys.record import Record, now
from mlsys.virtual.benchmark import VirtualBenchmark

LOAD = {"request_rate": 60.0, "requests": 360, "warmup_requests": 0, "timeout_s": 30.0}
COSTS = {"base_ms": 10.0, "per_request_ms": 1.0, "per_token_ms": 0.0, "max_new_tokens": 4}
SPAN: dict[str, Any] = {"at_s": 2.0, "for_s": 1.5, "target": "replica-1"}


@pytest.fixture(autouse=True)
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "say", lambda text: None)


def configuration(fault: str, server: str = "lb", **knobs: Any) -> dict[str, Any]:
    config = simulated(server, "poisson", loadtest=LOAD, generator=COSTS)
    config |= {"clock": "virtual", "cost": {"start_s": 1.0}}
    known = composed(f"fault={fault}")["fault"]
    return config | {"fault": known | {name: one for name, one in knobs.items() if name in known}}


def measured(config: dict[str, Any], directory: Path) -> Record:
    record = Record("serving", [], config, "", {}, now())
    for part in VirtualBenchmark(config, directory).measure():
        record.add(part)
    return record


def test_a_kill_is_noticed_and_mended_and_its_course_is_in_the_record_as_in_real_time(tmp_path: Path) -> None:
    record = measured(configuration("kill", **SPAN), tmp_path / "a")
    (level,) = record.levels
    assert level["fault.what"] == "replica-1 was killed"
    assert (level["fault.lost"], level["fault.unnoticed"], level["answered_twice"]) == (0, 0, 0)
    assert 0 <= number(level["fault.noticed_s"]) < 0.1
    assert 1.0 <= number(level["fault.whole_s"]) < 2.5  # `start_s`, after the pause before a new start
    assert level["fault.begin_s"] == pytest.approx(2.0, abs=0.1)
    up = record.samples["levels.0.timeline.replicas_up"]
    assert (up[0], min(up), up[-1]) == (3, 2, 3)
    assert len(record.samples["levels.0.timeline.fault_s"]) == 2
    again = measured(configuration("kill", **SPAN), tmp_path / "b")
    assert again.results["results_digest"] == record.results["results_digest"]


@pytest.mark.parametrize(
    "fault", ["stop", "slow", "hang", "flap", "partition", "latency", "reset", "restart_rolling"]
)
def test_no_request_is_lost_to_one_broken_replica_of_three(fault: str, tmp_path: Path) -> None:
    (level,) = measured(configuration(fault, **SPAN), tmp_path).levels
    assert (level["fault.lost"], level["fault.refused"], level["fault.count"]) == (0, 0, 1)
    assert number(level["fault.whole_s"]) >= 0
    if fault in ("stop", "hang", "partition", "reset", "restart_rolling"):
        assert level["fault.unnoticed"] == 0
    if fault == "latency":
        assert number(level["e2e_ms.max"]) > 100


def test_every_replica_that_hangs_holds_what_waits_until_it_goes_on(tmp_path: Path) -> None:
    (level,) = measured(configuration("hang", **SPAN | {"target": "all"}), tmp_path).levels
    assert level["fault.lost"] == 0
    assert 1_000 < number(level["e2e_ms.max"]) < 3_000


def test_the_short_soak_goes_as_in_real_time(tmp_path: Path) -> None:
    """The same options as in `tests/faults/test_broken.py`, and the same is expected of it."""
    config = composed(
        "experiment=soak", loadtest={"requests": 1200, "request_rate": 80.0}, fault={"times": 1}
    )
    (level,) = measured(config | {"device": "cpu", "clock": "virtual"}, tmp_path).levels
    assert str(level["fault.what"]).endswith("was killed")
    assert (level["fault.count"], level["fault.lost"], level["fault.unnoticed"]) == (4, 0, 0)
    assert number(level["fault.left"]) > 0
    assert number(level["fault.whole_s"]) > 0


@pytest.mark.parametrize(
    ("fault", "server", "knobs", "words"),
    [
        ("oom", "lb", {}, "fault=oom clock=virtual: a simulated process has nothing"),
        ("clock_jump", "lb", {}, "fault=clock_jump clock=virtual"),
        ("slow_client", "lb", {}, "fault=slow_client clock=virtual"),
        ("kill", "batch", {}, "fault=kill clock=virtual: only replicas can be broken there"),
        ("kill", "lb", {"target": "service"}, "fault.target=service: only replicas"),
    ],
)
def test_what_has_no_form_in_virtual_time_is_one_line(
    fault: str, server: str, knobs: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        VirtualBenchmark(configuration(fault, server, **knobs), tmp_path)
