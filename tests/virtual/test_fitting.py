"""Costs that are known, found again in what a service with just these costs measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scalars import number
from sections import simulated

from mlsys.errors import UserError
from mlsys.loadtest.questions import Question
from mlsys.record import Level, Record
from mlsys.virtual.fitting import Fitted, fit, of_levels
from mlsys.virtual.simulate import simulate

ASKED = [Question(number, f"question {number}?", None) for number in range(20)]
ENGINE = {
    "base_ms": 0.0,
    "per_request_ms": 0.0,
    "per_token_ms": 2.0,
    "per_sequence_ms": 0.25,
    "max_new_tokens": 8,
}
COST = {"request_ms": 2.0, "loop_ms": 0.4, "client_ms": 0.6, "batch_ms": 3.0, "batch_request_ms": 0.5}


def measured(
    server: str, cost: dict[str, Any] | None = None, **sections: dict[str, Any]
) -> tuple[Record, list[Level]]:
    load = {"requests": 200} | sections.pop("loadtest", {"concurrency": [1, 4, 16]})
    kind = "poisson" if "request_rate" in load else "closed"
    engine = ENGINE | sections.pop("generator", {})
    config = simulated(server, kind, generator=engine, loadtest=load, **sections)
    config |= {"cost": COST | (cost or {})}
    record = Record("serving", [], config, "", {}, "", status="ok", error=None)
    levels = simulate(config, ASKED)
    for level in levels:
        record.add(level)
    return record, levels


def found(record: Record) -> Fitted:
    return of_levels([(record, level) for level in record.levels])


def test_whole_batches_tell_what_a_batch_takes_and_what_each_request_adds() -> None:
    fitted = found(measured("batch")[0])
    assert fitted.generator["per_token_ms"] == pytest.approx(2.0, rel=0.02)
    assert fitted.generator["per_sequence_ms"] == pytest.approx(0.25, rel=0.05)
    assert fitted.cost["batch_ms"] == pytest.approx(3.0, rel=0.05)
    assert fitted.cost["batch_request_ms"] == pytest.approx(0.5, rel=0.05)
    assert fitted.cost["request_ms"] == pytest.approx(2.0, rel=0.15)
    assert fitted.cost["loop_ms"] == pytest.approx(0.4, rel=0.25)
    assert fitted.cost["client_ms"] == pytest.approx(0.6, rel=0.1)
    assert max(map(abs, fitted.off)) < 0.02


def test_steps_tell_what_a_step_takes_and_each_sequence_in_it() -> None:
    fitted = found(measured("continuous")[0])
    assert fitted.generator["per_token_ms"] == pytest.approx(2.0, rel=0.1)
    assert fitted.generator["per_sequence_ms"] == pytest.approx(0.25, rel=0.1)
    assert max(map(abs, fitted.off)) < 0.05


def test_clients_that_are_faster_than_the_service_are_found_too() -> None:
    fitted = found(measured("batch", cost={"loop_ms": 0.8, "client_ms": 0.1})[0])
    assert fitted.cost["loop_ms"] == pytest.approx(0.8, rel=0.1)
    assert fitted.cost["client_ms"] == pytest.approx(0.1, rel=0.25)


def test_reading_prompts_is_told_apart_from_writing_where_steps_that_read_are_counted() -> None:
    engine = {"base_ms": 12.0, "per_request_ms": 1.0, "per_token_ms": 0.5, "per_sequence_ms": 0.05}
    fitted = found(measured("continuous", generator=engine)[0])
    for knob, truth in engine.items():
        assert fitted.generator[knob] == pytest.approx(truth, rel=0.05), knob


def test_an_engine_that_is_no_straight_line_is_followed_from_size_to_size() -> None:
    shape = [[1.0, 0.7], [4.0, 1.3], [16.0, 1.0]]
    fitted = found(measured("batch", cost={"shape": shape})[0])
    config = simulated("batch", generator=ENGINE, loadtest={"concurrency": 4, "requests": 200})
    (truth,) = simulate(config | {"cost": COST | {"shape": shape}}, ASKED)
    (predicted,) = simulate(fitted.applied(config), ASKED)
    assert len(fitted.cost["shape"]) == 3
    for figure in ("throughput_rps", "e2e_ms.p50", "stage_ms.generate.mean"):
        assert predicted.values[figure] == pytest.approx(number(truth.values[figure]), rel=0.02)


def test_what_a_pause_costs_is_found_in_how_often_batches_follow_at_once() -> None:
    levels = [
        measured("queue", loadtest={"request_rate": rate}, cost={"idle_ms": 12.0})[0] for rate in (3.0, 20.0)
    ]
    fitted = of_levels([(record, level) for record in levels for level in record.levels])
    assert fitted.cost["idle_ms"] == pytest.approx(12.0, rel=0.15)


def test_a_run_is_predicted_from_another_one() -> None:
    record, _ = measured("batch")
    config = simulated("queue", "poisson", generator=ENGINE, loadtest={"request_rate": 20.0, "requests": 500})
    (truth,) = simulate(config | {"cost": COST}, ASKED)
    (predicted,) = simulate(found(record).applied(config), ASKED)
    for figure in ("throughput_rps", "e2e_ms.p50", "e2e_ms.p95"):
        assert predicted.values[figure] == pytest.approx(number(truth.values[figure]), rel=0.03)


def test_batches_that_differ_in_time_do_so_when_they_are_simulated() -> None:
    record, _ = measured("queue")
    for level in record.levels:
        mean = number(level["stage_ms.generate.mean"])
        wide = {"p50": 0.9, "p90": 1.3, "p95": 1.5, "p99": 2.0}
        level |= {f"stage_ms.generate.{part}": share * mean for part, share in wide.items()}
        record.levels[record.levels.index(level)] = level
    fitted = found(record)
    config = fitted.applied(
        simulated("queue", generator=ENGINE, loadtest={"concurrency": 1, "requests": 1_000})
    )
    (predicted,) = simulate(config, ASKED)
    mean = number(predicted.values["stage_ms.generate.mean"])
    assert number(predicted.values["stage_ms.generate.p95"]) == pytest.approx(1.5 * mean, rel=0.1)
    assert mean == pytest.approx(number(record.levels[0]["stage_ms.generate.mean"]), rel=0.02)


def test_what_a_configuration_states_itself_is_kept() -> None:
    config = simulated("queue") | {"cost": {"from": "x", "request_ms": 7.0, "loop_ms": None}}
    config["generator"] = {"name": "smollm2", "max_new_tokens": 16, "max_prompt_tokens": 512}
    made = found(measured("batch")[0]).applied(config)
    assert made["cost"]["request_ms"] == 7.0
    assert made["cost"]["loop_ms"] > 0
    assert made["generator"]["name"] == "simulated"
    assert (made["generator"]["max_new_tokens"], made["generator"]["max_prompt_tokens"]) == (16, 512)


def test_what_tells_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cost\.from=.*nowhere is not there"):
        fit(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no finished serving run"):
        fit(tmp_path)
    record, _ = measured("batch")
    record.results["clock"] = "virtual"
    record.write(tmp_path)
    with pytest.raises(UserError, match="was simulated itself"):
        fit(tmp_path)
    record.results, record.levels = {}, [{"e2e_ms.mean": 3.0}]
    record.write(tmp_path)
    with pytest.raises(UserError, match="tells of no load level what its stages took"):
        fit(tmp_path)
