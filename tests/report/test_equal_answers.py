from __future__ import annotations

from pathlib import Path

import synthetic

from mlsys.record import Record
from mlsys.report.equal_answers import summary
from mlsys.report.rows import rows


def told(*records: Record) -> list[str]:
    return summary(rows([(Path(f"/o/{i}"), made) for i, made in enumerate(records)]))


def answering(mode: str, digest: str = "a", **changes: object) -> Record:
    made = synthetic.serving(mode, config={"generator": {"name": "random", "dtype": "float32"}})
    for level in made.levels:
        level |= {"answers_digest.measured": f"{digest}{level['concurrency']}", "repeats": 1}
    made.config["loadtest"] |= changes
    return made


def test_modes_that_gave_the_same_answers_are_told_in_one_sentence() -> None:
    found = told(*(answering(mode) for mode in ("baseline", "batch", "continuous")))
    assert found == ["All 3 gave the same answers to the same questions, at every load."]


def test_a_mode_with_other_answers_is_named_at_each_load() -> None:
    odd = answering("continuous")
    odd.levels[3]["answers_digest.measured"] = "other"
    assert told(answering("baseline"), answering("batch"), odd) == [
        "At a load of 20 continuous gave other answers than baseline, batch."
    ]


def test_other_loads_unanswered_requests_and_other_dtypes_say_nothing() -> None:
    half = answering("batch", "b")
    half.config["generator"] = {"name": "random", "dtype": "bfloat16"}
    failing = answering("continuous", "c")
    for level in failing.levels:
        level["succeeded"] = 119
    longer = answering("queue", "d", output_tokens=64)
    timed = answering("lb", "e", duration_s=5.0)
    assert told(answering("baseline"), half, failing, longer, timed) == []
    assert told(answering("baseline")) == []
