"""What a configuration breaks, when and whom; and what it is told where that makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sections import composed, section

from mlsys.defaults import options
from mlsys.errors import UserError
from mlsys.faults.detour import Detours
from mlsys.faults.scene import Scene
from mlsys.faults.stage import planned

SINGLE = [name for name in options("fault") if name not in ("none", "schedule", "watch")]


def asked(server: str = "lb", fault: str = "kill", load: str = "poisson", **knobs: Any) -> dict[str, Any]:
    return composed(f"server={server}", f"loadtest={load}", f"fault={fault}", fault=knobs)


def test_nothing_is_broken_by_default() -> None:
    assert planned(composed("server=lb")) == []


@pytest.mark.parametrize("name", SINGLE)
def test_each_fault_is_planned_for_a_balancer_at_its_time(name: str) -> None:
    (fault,) = planned(asked(fault=name, at_s=7.0))
    assert (fault.name, fault.at_s) == (name, 7.0)
    assert fault.what(["replica-1"])


@pytest.mark.parametrize("name", sorted({*SINGLE} - {"restart_rolling"}))
def test_each_fault_but_a_rolling_restart_hits_a_service_without_replicas(name: str) -> None:
    (fault,) = planned(asked("batch", name))
    with Detours() as detours:
        assert Scene(Path(), "", None, [], detours).targets(fault) == ["service"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (asked("batch", "restart_rolling"), "no replicas to restart"),
        (asked("batch", target="replica-1"), "fault.target=replica-1 is none of any, all, service"),
        (asked(target="replica-9"), "replica-0, replica-1, replica-2"),
        (asked(target="pid:x"), "there is no such process"),
        (asked(at_s=-1.0), "fault.at_s=-1 must be at least 0"),
        (asked(fault="slow", share=0.0), "fault.share=0"),
        (asked(load="none"), "loadtest=none sends none"),
        (asked(fault="schedule", faults=["boom"]), "boom is none of client_leave"),
        (asked(fault="schedule", faults=[]), "at least one fault"),
        (asked(fault="hang", target="service"), "fault.target=service is none of any, all, replica-0"),
        (composed("server=external", "fault=kill", server={"url": "http://a"}), "somebody else's process"),
        (composed("server=lb", "fault=kill", loadtest={"repeats": 2}), "loadtest.repeats=2 must be 1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(config: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        planned(config)
    assert "\n" not in str(refused.value)


def test_a_schedule_spaces_its_faults_and_repeats_them_with_other_draws() -> None:
    faults = ["kill", {"name": "stop", "for_s": 2}, {"name": "hang", "at_s": 1}]
    plan = planned(asked(fault="schedule", faults=faults, every_s=4.0, again_s=20.0, times=2))
    assert [(one.name, one.at_s, one.seed) for one in plan] == [
        *(("hang", 1, 0), ("kill", 5, 0), ("stop", 9, 0)),
        *(("hang", 21, 1), ("kill", 25, 1), ("stop", 29, 1)),
    ]
    assert plan[2].for_s == 2


def test_a_draw_is_the_same_for_the_same_seed_and_reaches_every_replica() -> None:
    names = ["replica-0", "replica-1", "replica-2"]
    with Detours() as detours:
        scene = Scene(Path(), "", None, names, detours)
        drawn = [scene.targets(planned(asked(seed=seed))[0]) for seed in range(20)]
        again = [scene.targets(planned(asked(seed=seed))[0]) for seed in range(20)]
    assert drawn == again
    assert {name for (name,) in drawn} == set(names)


def test_clients_that_leave_are_told_to_the_load_generator() -> None:
    (fault,) = planned(asked(fault="client_leave", at_s=3.0, for_s=2.0, share=0.5, after_ms=10.0))
    assert fault.leavers() == {"from_s": 3, "to_s": 5, "share": 0.5, "after_s": 0.01, "seed": 0}
    assert section("fault/client_leave")["name"] == "client_leave"
