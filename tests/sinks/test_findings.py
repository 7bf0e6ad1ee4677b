from __future__ import annotations

from pathlib import Path

import synthetic

from mlsys.record import Record
from mlsys.sinks import findings
from mlsys.sinks.rows import rows


def warnings(*records: Record) -> str:
    return "\n".join(findings.warnings([(Path(f"/o/{i}"), made) for i, made in enumerate(records)]))


def test_a_quiet_run_warns_of_nothing() -> None:
    assert warnings(synthetic.distance()) == ""


def test_each_doubt_is_said() -> None:
    assert "busy before the run" in warnings(synthetic.distance(load_average=[1.5, 1.0, 1.0]))
    assert "busy before the run" in warnings(synthetic.distance(busy=True))
    assert "uncommitted changes" in warnings(synthetic.distance(git={"commit": "1", "dirty": True}))
    assert "not finished" in warnings(synthetic.start("distance", {}, []))
    assert "failed with UserError: size=1.5" in warnings(synthetic.failed())
    made = synthetic.serving()
    made.levels[2]["valid"] = False
    assert "load generator was itself the limit" in warnings(made)


def test_what_is_not_real_is_said() -> None:
    made = synthetic.serving()
    made.results["pipeline.generator.note"] = "random weights of the true shape"
    assert "random weights" in warnings(made)
    made.results["pipeline.generator.note"] = "simulated"
    assert "simulated" in warnings(made)


def test_runs_of_several_machines_are_said() -> None:
    other = synthetic.environment()["hardware"] | {"cpu": "Other"}
    assert "2 different machines" in warnings(synthetic.distance(), synthetic.distance(hardware=other))


def test_distance_says_the_best_of_each_metric() -> None:
    table = rows(
        [(Path("/a"), synthetic.distance("l2", 10**4)), (Path("/b"), synthetic.distance("l2", 10**8))]
    )
    (said,) = findings.summary("distance", table)
    assert said.startswith(
        "l2: 20.99 GB/s at n = 1e8 (blocked), 87.5 % of this machine's copy bandwidth; against numpy 4."
    )


def test_vectors_from_the_host_are_held_against_the_way_to_the_gpu() -> None:
    record = synthetic.distance("l2", 10**8)
    record.results["host_to_device_gbps"] = 2 * float(record.results["bandwidth_gbps"] or 0)
    (said,) = findings.summary("distance", rows([(Path("/a"), record)]))
    assert said.startswith(
        "l2: 20.99 GB/s at n = 1e8 (blocked), 50.0 % of one page-locked copy to the GPU; against"
    )


def test_serving_says_each_mode_against_the_baseline_at_the_highest_common_load() -> None:
    table = rows([(Path("/a"), synthetic.serving("baseline")), (Path("/b"), synthetic.serving("batch"))])
    assert findings.summary("serving", table) == [
        "batch at 20: 1.5 req/s, 2.50× the baseline, with 0.40 of its p95."
    ]


def test_search_says_the_best_of_each_metric() -> None:
    made = synthetic.search("l2", 64)
    made.results |= {"queries_per_s": 5000.0, "rows": 100_000, "dim": 384}
    (said,) = findings.summary("search", rows([(Path("/a"), made)]))
    assert said == "l2: 5,000 queries/s (64 at once, 100,000 rows of 384); recall 1."
