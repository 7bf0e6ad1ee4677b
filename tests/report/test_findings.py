from __future__ import annotations

from pathlib import Path

import synthetic

from mlsys.report import findings
from mlsys.report.rows import rows


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


def test_search_says_the_best_of_each_metric() -> None:
    made = synthetic.search("l2", 64)
    made.results |= {"queries_per_s": 5000.0, "rows": 100_000, "dim": 384}
    (said,) = findings.summary("search", rows([(Path("/a"), made)]))
    assert said == "l2: 5,000 queries/s (64 at once, 100,000 rows of 384); recall 1."


def test_more_than_a_copy_is_explained_once() -> None:
    records = [synthetic.distance(metric, 10**8) for metric in ("l2", "dot")]
    for made in records:
        made.results["copy_share"] = 1.2
    said = findings.summary("distance", rows([(Path(f"/{i}"), made) for i, made in enumerate(records)]))
    assert [line.startswith("More than 100 % of a copy") for line in said] == [False, False, True]


def test_a_nan_distance_is_said_first() -> None:
    made = synthetic.distance()
    made.results["value"] = "nan"
    first, *_ = findings.summary("distance", rows([(Path("/a"), made)]))
    assert first == "l2: the distance is nan, for the input holds nan."


def test_a_setting_beside_the_metric_is_named_and_many_become_the_best_of_each() -> None:
    kinds = [("l2", dtype) for dtype in ("float32", "float16")] + [("dot", "float32"), ("dot", "float16")]
    records = [synthetic.distance(metric, config={"dtype": dtype}) for metric, dtype in kinds]
    said = findings.summary("distance", rows([(Path(f"/{i}"), made) for i, made in enumerate(records)]))
    assert [line.partition(":")[0] for line in said] == [f"{metric} · {dtype}" for metric, dtype in kinds]
    many = [synthetic.distance(config={"threads": count}) for count in range(1, 10)]
    (one,) = findings.summary("distance", rows([(Path(f"/{i}"), made) for i, made in enumerate(many)]))
    assert ", the best of 9: " in one
