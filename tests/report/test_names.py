from __future__ import annotations

from pathlib import Path
from typing import Any

import synthetic

from mlsys.record import Record
from mlsys.report import names
from mlsys.report.rows import each_record


def told(*records: Record, at: str = "/o/{}") -> list[str]:
    found = names.by_workload([(Path(at.format(i)), made) for i, made in enumerate(records)])
    titles = names.titles(found)
    return [titles[i] for i in range(len(records))]


def batch(size: int, timeout_ms: float = 20.0, **config: Any) -> Record:
    return synthetic.serving(
        "batch", config={"batching": {"name": "hybrid", "max_size": size, "timeout_ms": timeout_ms}, **config}
    )


def test_a_run_is_named_by_what_differs() -> None:
    assert told(synthetic.serving("baseline"), synthetic.serving("batch")) == ["baseline", "batch"]
    assert told(batch(8), batch(16)) == ["max_size=8", "max_size=16"]


def test_knobs_that_another_explains_are_left_out() -> None:
    assert told(batch(8, 10.0), batch(16, 20.0), batch(32, 30.0)) == [
        "max_size=8",
        "max_size=16",
        "max_size=32",
    ]
    assert told(batch(8, 10.0), batch(8, 20.0), batch(16, 20.0)) == [
        "max_size=8 · timeout_ms=10",
        "max_size=8 · timeout_ms=20",
        "max_size=16 · timeout_ms=20",
    ]


def test_a_knob_is_named_only_for_the_servers_that_differ_in_it() -> None:
    assert told(synthetic.serving("baseline"), batch(8), batch(16)) == [
        "baseline",
        "batch · max_size=8",
        "batch · max_size=16",
    ]


def test_what_explains_itself_is_named_wherever_it_differs() -> None:
    other = {"generator": {"name": "smollm2", "dtype": "bfloat16"}}
    assert told(synthetic.serving("baseline"), synthetic.serving("batch", config=other)) == [
        "baseline · float32",
        "batch · bfloat16",
    ]


def test_sizes_are_part_of_a_records_name_but_not_of_its_line() -> None:
    assert told(synthetic.distance("l2", 10**4), synthetic.distance("l2", 10**8)) == ["n=1e4", "n=1e8"]


def test_repeats_are_told_apart_by_their_directories_or_numbered() -> None:
    assert told(batch(8), batch(8)) == ["batch (0)", "batch (1)"]
    assert told(batch(8), batch(8), at="/o/a-very-long-directory-of-overrides-{}") == [
        "batch (run 1)",
        "batch (run 2)",
    ]


def test_on_a_page_of_several_workloads_a_name_says_which() -> None:
    assert told(synthetic.distance(), synthetic.serving()) == ["distance: l2", "serving: batch"]


def test_a_lone_run_has_no_name_of_its_own_but_its_server() -> None:
    table = names.by_workload([(Path("/o"), synthetic.serving())])["serving"]
    made = names.Names.of(table)
    assert (made.name(table[0]), made.full(table[0])) == ("", "batch")
    assert len(each_record(table)) == 1
