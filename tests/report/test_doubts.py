from __future__ import annotations

from pathlib import Path

import synthetic

from mlsys.record import Record
from mlsys.report import doubts


def warnings(*records: Record) -> str:
    return "\n".join(doubts.warnings([(Path(f"/o/{i}"), made) for i, made in enumerate(records)]))


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


def test_one_fact_is_one_warning() -> None:
    made = synthetic.serving()
    made.results |= {
        "pipeline.generator.name": "simulated",
        "pipeline.generator.model": "simulated",
        "pipeline.generator.note": "simulated: a cost model, no language model",
    }
    assert warnings(made) == "the generator is simulated: a cost model, no language model"


def test_warnings_name_runs_as_the_page_does_or_say_all() -> None:
    def dirty(mode: str, dirty: bool) -> Record:
        return synthetic.serving(mode, git={"commit": "1", "dirty": dirty})

    some = warnings(dirty("baseline", True), dirty("queue", True), dirty("batch", False))
    assert some == "uncommitted changes in the code: baseline, queue"
    assert warnings(dirty("baseline", True), dirty("batch", True)).endswith("in the code: all 2 runs")
