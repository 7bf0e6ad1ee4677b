"""The answer before anything else: who wins where, by how much, how sure, and what to try next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import synthetic

from mlsys.record import Record
from mlsys.report import findings, verdict
from mlsys.report.names import by_workload
from mlsys.report.rows import Row


def rows(*records: Record) -> list[Row]:
    return by_workload([(Path(f"/o/{i}"), made) for i, made in enumerate(records)])["serving"]


def run(mode: str, figures: dict[float, dict[str, Any]]) -> Record:
    """A run with these figures at its levels."""
    made = synthetic.serving(mode)
    levels = [dict(made.levels[0]) | {"concurrency": load} | own for load, own in figures.items()]
    made.levels[:] = levels
    return made


def at(rate: float, low: float = 90.0, high: float = 110.0, **more: Any) -> dict[str, Any]:
    return {"throughput_rps": rate, "e2e_ms.mean_low": low, "e2e_ms.mean_high": high, **more}


def test_the_winner_is_told_for_each_load_with_its_lead_and_whether_it_is_chance() -> None:
    queue = run("queue", {1: at(1.0), 5: at(1.0, 200, 210), 20: at(1.0, 400, 420)})
    batch = run("batch", {1: at(1.01), 5: at(1.5), 20: at(2.5)})
    said = verdict.summary(rows(queue, batch))
    assert said[:2] == [
        "At 1: both settings are alike.",
        "At 5 to 20: batch, 1.50 to 2.50 times the requests/s of queue "
        "(more than chance: the 95 % intervals lie apart).",
    ]
    assert said[2] == "Next: throughput still rises at 20, try loadtest.concurrency=[40,80]."


def test_a_lead_within_the_intervals_is_called_chance() -> None:
    said = verdict.summary(rows(run("queue", {5: at(1.0)}), run("batch", {5: at(1.2)})))
    assert "perhaps by chance" in said[0]
    some = run("queue", {5: at(1.0), 9: at(1.0, 200, 210)}), run("batch", {5: at(1.2), 9: at(1.3)})
    assert "more than chance at 1 of 2 loads" in verdict.summary(rows(*some))[0]


def test_offered_rates_are_won_by_p95_and_limits_by_what_meets_them() -> None:
    def offered(mode: str, **figures: Any) -> Record:
        own = at(5.0, **figures) | {"offered_rate_rps": 5.0}
        made = run(mode, {5: own})
        for level in made.levels:
            del level["concurrency"]
        return made

    slow, fast = offered("queue", **{"e2e_ms.p95": 300.0}), offered("batch", **{"e2e_ms.p95": 100.0})
    assert verdict.summary(rows(slow, fast))[0].startswith("At 5: batch, 0.33 of the p95 of queue")
    slow, fast = offered("queue", goodput_rps=2.0), offered("batch", goodput_rps=4.0)
    said = verdict.summary(rows(slow, fast))[0]
    assert said.startswith("At 5: batch, 2.00 times the requests within the limits of queue")


def test_other_work_is_not_compared_and_one_run_alone_is_told_what_to_compare() -> None:
    other = synthetic.serving("queue", config={"corpus": {"name": "files"}})
    assert verdict.summary(rows(synthetic.serving("batch"), other))[:1] != ["At 1: batch"]
    (said,) = verdict.summary(rows(run("queue", {5: at(1.0)})))
    assert said == "Next: compare settings under the same load, such as -m server=baseline,batch."


def test_full_batches_and_refusals_say_what_to_try() -> None:
    full = {"batch_size.mean": 7.9, "requests": 100, "rejected": 30}
    made = run("batch", {5: at(1.0, **full)})
    made.config["batching"] = {"name": "hybrid", "max_size": 8}
    queue = run("queue", {5: at(0.5)})
    queue.config["batching"] = {"name": "hybrid", "max_size": 8}
    said = verdict.summary(rows(made, queue))[-1]
    assert said.startswith("Next: its batches are full, try batching.max_size=16; 30 % were refused")


def test_the_page_opens_with_it() -> None:
    found = rows(run("queue", {5: at(1.0)}), run("batch", {5: at(2.0)}))
    assert findings.answers("serving", found)[0].startswith("At 5: batch, 2.00 times")
    assert verdict.summary([]) == []
