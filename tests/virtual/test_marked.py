"""A simulated run says so wherever it is shown, and is not set against a real one."""

from __future__ import annotations

from pathlib import Path

from sections import simulated

from mlsys.compare import conditions, match
from mlsys.record import Record
from mlsys.report.page import fragments


def run(clock: str | None) -> tuple[Path, Record]:
    config = simulated("queue") | {"clock": clock}
    made = Record("serving", [], config, "", {}, "2026-11-26T20:00:00", status="ok", error=None)
    made.results = {"clock": clock} if clock else {}
    return Path(str(clock)), made


def test_the_pages_first_line_says_what_was_simulated() -> None:
    assert "Simulated: 1 run" in fragments.head([run("virtual")])
    assert "Simulated in part (1 of the runs): 2 runs" in fragments.head([run("virtual"), run(None)])
    assert "Simulated" not in fragments.head([run(None)])


def test_a_simulated_run_is_no_side_of_a_comparison_with_a_real_one() -> None:
    (pair,) = match.match([run("virtual")], [run(None)]).pairs
    assert any("clock" in reason for reason in conditions.check(pair).other_work)
    (alike,) = match.match([run("virtual")], [run("virtual")]).pairs
    assert not conditions.check(alike).other_work
