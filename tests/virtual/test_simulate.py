"""Whole experiments in virtual time, as `run.py clock=virtual` has them."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from scalars import number
from sections import simulated

from mlsys import progress
from mlsys.errors import UserError
from mlsys.loadtest.questions import Question
from mlsys.rag.prompt import INSTRUCTION
from mlsys.record import Level, Results, Scalar
from mlsys.run.build import build
from mlsys.theory.deterministic import Deterministic
from mlsys.virtual.hosts import VirtualHosts
from mlsys.virtual.simulate import simulate

ASKED = [Question(number, f"question {number}?", None) for number in range(20)]
COSTS = {"base_ms": 21.0, "per_request_ms": 1.0, "per_token_ms": 0.0, "max_new_tokens": 4}


def experiment(server: str, load: str, /, **sections: dict[str, Any]) -> dict[str, Any]:
    sections["generator"] = COSTS | sections.get("generator", {})
    return simulated(server, load, **sections)


def level(server: str, load: str = "poisson", /, **sections: dict[str, Any]) -> dict[str, Scalar]:
    (found,) = simulate(experiment(server, load, **sections), ASKED)
    return dict(found.values)


def poisson(rate: float, requests: int = 500, **more: Any) -> dict[str, Any]:
    return {"request_rate": rate, "requests": requests, **more}


@pytest.mark.parametrize("mode", ["baseline", "queue"])
def test_who_goes_one_by_one_takes_what_theory_says(mode: str) -> None:
    values = level(mode, loadtest=poisson(20.0, 3_000))
    assert number(values["e2e_ms.mean"]) == pytest.approx(Deterministic(20.0, 22.0).mean_ms, rel=0.06)
    assert values["littles_law.ratio"] == pytest.approx(1.0, abs=0.02)


def test_a_lone_client_of_a_scheduler_of_tokens_waits_for_its_own_steps_only() -> None:
    generator = {"per_token_ms": 2.0, "max_new_tokens": 10}
    load = {"concurrency": 1, "requests": 20, "stream": True}
    values = level("continuous", "closed", loadtest=load, generator=generator)
    assert values["e2e_ms.p50"] == pytest.approx(22.0 + 10 * 2.0)
    assert values["ttft_ms.p50"] == pytest.approx(22.0 + 2.0)
    assert values["itl_ms.p50"] == pytest.approx(2.0, rel=1e-4)


def test_reading_prompts_and_holding_context_cost_what_the_knobs_say() -> None:
    generator = {
        "base_ms": 0.0, "per_request_ms": 0.0, "max_new_tokens": 5, "per_prompt_token_ms": 0.5,
        "per_sequence_ms": 3.0, "per_context_token_ms": 0.01,
    }  # fmt: skip
    prompt = len(INSTRUCTION.split()) + len(["Question:", "question", "7?"])
    expected = 0.5 * prompt + 5 * 3.0 + 0.01 * (5 * prompt + 10)
    for mode in ("queue", "continuous"):
        values = level(mode, "closed", loadtest={"concurrency": 1, "requests": 9}, generator=generator)
        assert values["e2e_ms.p50"] == pytest.approx(expected), mode


@pytest.mark.parametrize("replica", ["queue", "batch", "continuous"])
def test_replicas_share_what_comes(replica: str) -> None:
    server = {"replicas": 10, "replica": replica}
    values = level("lb", loadtest=poisson(200.0, 1_000), server=server, generator={"max_new_tokens": 1})
    assert values["success_rate"] == 1.0
    assert [values[f"replica.replica-{n}.requests"] for n in range(10)] == pytest.approx([100] * 10, abs=2)


def test_what_http_would_cost_is_waited_for_one_request_after_the_other() -> None:
    plain = level("batch", "closed", loadtest={"concurrency": 1, "requests": 20})
    costly = experiment("batch", "closed", loadtest={"concurrency": 1, "requests": 20})
    costly["cost"] = {"request_ms": 3.0, "loop_ms": 2.0, "batch_ms": 4.0, "batch_request_ms": 1.0}
    (found,) = simulate(costly, ASKED)
    assert number(found.values["e2e_ms.p50"]) == pytest.approx(number(plain["e2e_ms.p50"]) + 10.0)
    assert found.values["outside_ms.mean"] == pytest.approx(5.0)


def test_an_event_loop_stands_still_while_its_worker_prepares_the_batch_that_follows() -> None:
    config = experiment("queue", "closed", loadtest={"concurrency": 2, "requests": 20})
    config["cost"] = {"loop_ms": 1.0, "batch_ms": 4.0}
    (found,) = simulate(config, ASKED)
    assert number(found.values["outside_ms.mean"]) == pytest.approx(4.0 + 1.0)


def test_clients_take_their_time_between_an_answer_and_the_next_question() -> None:
    config = experiment(
        "batch", "closed", loadtest={"concurrency": 4, "requests": 100}, batching={"linger_ms": 9.0}
    )
    config["cost"] = {"client_ms": 2.0}
    (found,) = simulate(config, ASKED)
    assert number(found.values["throughput_rps"]) == pytest.approx(4e3 / (25.0 + 4 * 2.0), rel=0.02)


def test_a_question_that_is_due_at_a_time_is_sent_late() -> None:
    config = experiment("queue", "poisson", loadtest=poisson(5.0, 100))
    config["cost"] = {"dispatch_ms": 0.75}
    (found,) = simulate(config, ASKED)
    assert number(found.values["dispatch_delay_ms.mean"]) == pytest.approx(0.75)
    assert number(found.values["e2e_ms.p50"]) == pytest.approx(22.75)


async def kill_one(hosts: VirtualHosts) -> None:
    await asyncio.sleep(2.0)
    hosts.processes["virtual://replica-1"].signal(signal.SIGKILL)


def test_a_killed_replica_loses_no_request_and_comes_back() -> None:
    server = {"replicas": 3, "replica": "queue"}
    config = experiment("lb", "poisson", loadtest=poisson(60.0, 600), server=server)
    config["cost"] = {"start_s": 1.0}
    (found,) = simulate(config, ASKED, kill_one)
    assert found.values["success_rate"] == 1.0
    per_replica = [number(found.values[f"replica.replica-{n}.requests"]) for n in range(3)]
    assert per_replica[1] == min(per_replica)
    assert per_replica[1] > 100


async def hold_one(hosts: VirtualHosts) -> None:
    await asyncio.sleep(2.0)
    hosts.processes["virtual://replica-1"].signal(signal.SIGSTOP)


def test_a_held_replica_is_found_silent_and_its_requests_are_asked_elsewhere() -> None:
    server = {"replicas": 3, "replica": "queue"}
    config = experiment("lb", "poisson", loadtest=poisson(60.0, 600), server=server)
    (found,) = simulate(config, ASKED, hold_one)
    assert found.values["success_rate"] == 1.0
    assert number(found.values["e2e_ms.max"]) < 3_000


def test_the_highest_rate_within_an_slo_is_found(tmp_path: Path) -> None:
    """Which one that is is known: users are independent, and each takes the same time."""
    load = {"slo_ms": 60.0, "requests": 400, "request_rate": 10.0, "tolerance": 0.25, "confirm": 0}
    config = experiment("queue", "slo_search", loadtest=load) | {"clock": "virtual"}
    rates, found = list[float](), dict[str, Scalar]()
    for part in build(config, tmp_path).measure():
        if isinstance(part, Level):
            rates.append(number(part.values["offered_rate_rps"]))
        elif isinstance(part, Results):
            found |= part.values
    met, missed = number(found["slo.max_rate_rps"]), number(found["slo.missed_rate_rps"])
    assert rates[:3] == [10, 20, 40]
    assert {met, missed} <= set(rates)
    assert met < missed <= met * 1.25
    assert found["slo.ended"] == "within loadtest.tolerance=0.25"
    assert Deterministic(met / 1.2, 22.0).quantile_ms(0.95) < 60.0
    assert Deterministic(missed * 1.2, 22.0).quantile_ms(0.95) > 60.0


def test_one_seed_gives_one_digest_and_files_as_a_real_run_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list[str]()
    monkeypatch.setattr(progress, "say", said.append)
    digests = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        config = experiment("batch", "poisson", loadtest=poisson(50.0, 200)) | {
            "clock": "virtual",
            "seed": seed,
        }
        results: dict[str, Scalar] = {}
        for part in build(config, tmp_path / name).measure():
            if isinstance(part, Results):
                results |= part.values
        digests.append(results["results_digest"])
        assert results["clock"] == "virtual"
        assert (tmp_path / name / "requests.parquet").exists()
        assert json.loads((tmp_path / name / "loadtest.json").read_text())["seed"] == seed
    assert digests[0] == digests[1] != digests[2]
    assert "simulated 200 requests" in said[-1]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"generator": {"name": "smollm2"}}, r"generator=smollm2: what it costs is not known"),
        ({"cost": {"loop_ms": -1}}, r"cost\.loop_ms=-1 must be a number of at least 0"),
        ({"cost": {"lop_ms": 1}}, r"cost has no lop_ms"),
        ({"server": {"backends": ["http://127.0.0.1:1"]}}, r"services of its own"),
    ],
)
def test_what_cannot_be_simulated_is_one_line(sections: dict[str, dict[str, Any]], message: str) -> None:
    config = experiment("lb", "poisson")
    for group, knobs in sections.items():
        config[group] = config[group] | knobs
    with pytest.raises(UserError, match=message):
        simulate(config, ASKED)
