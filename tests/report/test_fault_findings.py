"""The first sentence of a page whose service was broken on purpose, and the same in a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import synthetic

from mlsys.compare import faults
from mlsys.compare.match import Pair
from mlsys.record import Record
from mlsys.report import findings
from mlsys.report.names import by_workload


def broken(mode: str, **values: Any) -> Record:
    made = synthetic.serving(mode, loads=(20,))
    usual: dict[str, Any] = {"what": "replica-1 was stopped", "lasted_s": 5.0, "lost": 0, "refused": 0}
    usual |= {"noticed_s": 0.25, "whole_s": 0.13}
    made.levels[0].update({f"fault.{name}": value for name, value in (usual | values).items()})
    return made


def first(record: Record) -> str:
    return findings.summary("serving", by_workload([(Path("/o/0"), record)])["serving"])[0]


def test_it_says_what_broke_for_how_long_and_what_that_cost() -> None:
    assert first(broken("lb")) == (
        "lb: replica-1 was stopped for 5 s; no request was lost, noticed after 0.25 s, whole again 0.13 s later."
    )


def test_a_death_that_nobody_repairs_is_told_as_that() -> None:
    alone = broken(
        "batch", what="the service was killed", lasted_s=0.001, lost=90, noticed_s=None, whole_s=None
    )
    assert first(alone) == (
        "batch: the service was killed; 90 of 120 requests were lost, and nothing took notice, not whole again."
    )


def test_a_comparison_tells_both_sides_and_nothing_where_nothing_broke() -> None:
    a, b = ([(Path("/o"), broken("lb", lost=lost))] for lost in (3, 0))
    assert faults.told(Pair(a, b, {}, {})) == (
        "faults: A 3 lost, 0 refused, 0.25 s until noticed, 0.13 s until whole; "
        "B 0 lost, 0 refused, 0.25 s until noticed, 0.13 s until whole"
    )
    whole = [(Path("/o"), synthetic.serving("lb", loads=(20,)))]
    assert faults.told(Pair(whole, whole, {}, {})) is None
