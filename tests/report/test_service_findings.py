from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import synthetic

from mlsys.record import Record
from mlsys.report import findings
from mlsys.report.names import by_workload

SIMULATED = {"generator": {"name": "simulated", "base_ms": 20.0}}


def said(*records: Record) -> list[str]:
    runs = [(Path(f"/o/{i}"), made) for i, made in enumerate(records)]
    return findings.summary("serving", by_workload(runs)["serving"])


def batching(size: int) -> dict[str, Any]:
    return {"batching": {"name": "hybrid", "max_size": size, "timeout_ms": 20.0}}


def test_each_mode_is_held_against_the_baseline_at_the_highest_common_load() -> None:
    assert said(synthetic.serving("baseline"), synthetic.serving("batch")) == [
        "batch at 20: 1.5 req/s, 2.50× the baseline, with 0.40 of its p95."
    ]


def test_a_cost_model_is_not_held_against_a_language_models_baseline() -> None:
    cheap = synthetic.serving("batch", config=SIMULATED)
    for level in cheap.levels:
        level["throughput_rps"] = 100.0
    found = said(synthetic.serving("baseline"), synthetic.serving("batch"), cheap)
    assert found == ["batch · smollm2 at 20: 1.5 req/s, 2.50× the baseline, with 0.40 of its p95."]
    assert not any("baseline," in line for line in said(synthetic.serving("baseline"), cheap))


@pytest.mark.parametrize(
    "other",
    [
        {"hardware": {"cpu": "Xeon Test", "cores": 64, "memory_gib": 24.0, "gpu": None}},
        {"config": {"server": {"name": "batch", "threads": 8}}},
        {"config": {"loadtest": {"name": "closed", "concurrency": [20], "k": 9}}},
    ],
    ids=["machine", "server limit", "load"],
)
def test_other_work_or_another_machine_gives_no_ratio(other: dict[str, Any]) -> None:
    found = said(synthetic.serving("baseline"), synthetic.serving("batch", **other))
    assert not any("the baseline" in line for line in found)


def test_each_setting_has_its_sentence_and_its_own_baseline() -> None:
    def run(mode: str, queue: int) -> Record:
        return synthetic.serving(mode, config={"server": {"name": mode, "max_queue": queue}})

    records = [run(mode, queue) for queue in (4, 64) for mode in ("baseline", "batch")]
    for level in records[0].levels:
        level["throughput_rps"] = 0.75
    found = said(*records)
    assert [line.partition(",")[0] for line in found] == [
        "batch · max_queue=4 at 20: 1.5 req/s",
        "batch · max_queue=64 at 20: 1.5 req/s",
    ]
    assert ["2.00×" in found[0], "2.50×" in found[1]] == [True, True]


def test_of_many_settings_the_best_is_named_and_how_many_there_were() -> None:
    records = [synthetic.serving("batch", config=batching(size)) for size in range(2, 12)]
    for level in records[3].levels:
        level["throughput_rps"] = 9.0
    (line,) = said(synthetic.serving("baseline"), *records)
    assert line.startswith("batch · max_size=5 at 20: 9 req/s, 15.00× the baseline")
    assert line.endswith(": the best of 10 settings.")


def test_an_invalid_level_is_no_result() -> None:
    made = synthetic.serving("batch")
    made.levels[3]["valid"] = False
    (line,) = said(synthetic.serving("baseline"), made)
    assert line.startswith("batch at 10: 1.3 req/s")


def test_what_was_not_answered_is_said_first() -> None:
    made = synthetic.serving("batch", loads=(20,))
    made.levels[0] |= {"success_rate": 0.0, "succeeded": 0, "timed_out": 120, "throughput_rps": 0.0}
    assert said(made) == ["batch at 20: none of 120 requests answered (120 timed out)."]
    made.levels[0] |= {"success_rate": 0.08, "rejected": 110, "timed_out": 0}
    assert said(made)[0] == "batch at 20: 8.0 % of 120 requests answered (110 rejected)."


def test_the_rate_that_was_searched_for_is_the_first_sentence() -> None:
    load = {"name": "slo_search", "request_rate": 1.0, "share": 0.95, "slo_ms": 500.0}
    made = synthetic.serving("batch", config={"loadtest": load})
    made.results |= {"slo.max_rate_rps": 12.5, "slo.missed_rate_rps": 14.0}
    assert (
        said(made)[0]
        == "batch: answers 95.0 % of requests within 500 ms up to 12.5 req/s and misses it at 14."
    )
    made.results |= {"slo.ended": "loadtest.max_levels=3"}
    assert said(made)[0].endswith("misses it at 14; the search ended: loadtest.max_levels=3.")
    made.results |= {"slo.missed_rate_rps": None, "slo.ended": None}
    assert said(made)[0].endswith("up to 12.5 req/s (no tried rate missed it).")
    made.results |= {"slo.max_rate_rps": None, "slo.missed_rate_rps": 0.5}
    assert (
        said(made)[0]
        == "batch: at no tried rate answers 95.0 % of requests within 500 ms and misses it at 0.5."
    )


def test_without_a_baseline_the_best_and_the_worst_are_named() -> None:
    slow, fast = (synthetic.serving("batch", config=batching(size)) for size in (4, 8))
    for level in fast.levels:
        level["throughput_rps"] = 3.0
    assert said(slow, fast) == [
        "At 20 the best of 2 settings is max_size=8: 3 req/s, p95 16,000 ms. "
        "The worst is max_size=4: 1.5 req/s, p95 16,000 ms."
    ]
    assert said(slow, synthetic.serving("batch", config=batching(8)))[0].startswith(
        "At 20 all 2 settings are alike."
    )


def test_a_lone_run_says_its_figures() -> None:
    assert said(synthetic.serving("batch")) == ["batch at 20: 1.5 req/s, p95 16,000 ms."]


def test_streams_are_held_against_the_baseline_by_their_first_token_and_who_does_not_stream_is_named() -> (
    None
):
    found = said(*(synthetic.streamed(mode) for mode in ("baseline", "batch", "continuous")))
    assert found == [
        "batch at 20: 1.5 req/s, 2.50× the baseline, with 0.40 of its p95 and 0.40 of its time to first token.",
        "continuous at 20: 2.4 req/s, 4.00× the baseline, with 0.25 of its p95 and 0.03 of its time to first token.",
        "baseline, batch do not stream: the first token comes with the last, so time to first token is the latency.",
    ]


def test_a_mode_that_answers_fewer_says_so_beside_its_short_latency() -> None:
    refusing = synthetic.serving("batch")
    for level in refusing.levels:
        level["success_rate"] = 0.6
    assert said(synthetic.serving("baseline"), refusing) == [
        "batch at 20: 1.5 req/s, 2.50× the baseline, with 0.40 of its p95; answered are 60.0 % of requests,"
        " there 100.0 %."
    ]
