"""What each knob of each option means: in the table, or the default that the table states."""

from __future__ import annotations

from collections.abc import Container

import pytest
from sections import composed, section

from mlsys.defaults import ROOT
from mlsys.record import knobs
from mlsys.record.knobs import MEANINGS, Meaning, is_care, is_setting, is_used, meaning, tells_work
from mlsys.report.rows import flatten


@pytest.fixture(scope="module")
def every_knob() -> set[str]:
    found = set(flatten(composed()))
    for path in (ROOT / "conf").glob("*/[!_]*.yaml"):
        if path.parent.name not in ("experiment", "hydra") and path.parts[-2:] != ("server", "none.yaml"):
            found |= flatten({path.parent.name: section(f"{path.parent.name}/{path.stem}")}).keys()
    return found


def _stated(knob: str, where: Container[str]) -> bool:
    parts = knob.split(".")
    return any(".".join(parts[:count]) in where for count in range(1, len(parts) + 1))


def test_every_knob_of_every_option_is_in_the_table_or_a_setting(every_knob: set[str]) -> None:
    assert len(every_knob) > 100
    for knob in every_knob:
        named = _stated(knob, MEANINGS)
        apart = knob in MEANINGS and _stated(knob.rpartition(".")[0], MEANINGS)  # from what its group means
        assert apart or named != (meaning(knob) is Meaning.SETTING), knob


def test_the_table_names_only_knobs_that_there_are(every_knob: set[str]) -> None:
    groups = {knob.rpartition(".")[0] for knob in every_knob} | {"experiment"}
    assert set(MEANINGS) <= every_knob | groups
    assert {group for unused in knobs.UNUSED.values() for group in unused} <= every_knob | groups


@pytest.mark.parametrize(
    ("knob", "found"),
    [
        ("data.x", Meaning.WORK),
        ("search.peers", Meaning.CARE),
        ("search.rows", Meaning.WORK),
        ("compare.rounds", Meaning.REPEAT),
        ("server.port", Meaning.SILENT),
        ("sizes", Meaning.SETTING),
        ("batching.brand_new", Meaning.SETTING),
    ],
)
def test_a_knob_means_what_its_nearest_entry_says(knob: str, found: Meaning) -> None:
    assert meaning(knob) is found


def test_a_seed_makes_a_repeat_and_a_baseline_only_care() -> None:
    assert [is_care(knob) for knob in ("seed", "baselines", "dtype", "n")] == [True, True, False, False]
    assert [is_setting(knob) for knob in ("seed", "baselines", "dtype", "n")] == [False, True, True, True]


def test_a_group_is_used_by_its_workloads() -> None:
    assert is_used("metric.name", "distance")
    assert not is_used("metric.name", "serving")


def test_results_that_only_begin_like_one_of_work_say_nothing_of_it() -> None:
    assert tells_work("n")
    assert tells_work("pipeline.corpus.passages")
    assert not tells_work("nan_count")
