"""The records that experiments keep, from the first version on: each is read, shown and compared by this one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlsys import record
from mlsys.compare.__main__ import main
from mlsys.record.check import SCHEMA
from mlsys.report import page
from mlsys.report.rows import rows

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
KEPT = sorted(EXPERIMENTS.rglob(record.FILE_NAME))
NAMES = sorted({path.relative_to(EXPERIMENTS).parts[0] for path in KEPT})
OLDEST = EXPERIMENTS / "replica_kill" / "records"


def test_there_are_records_of_every_kind_and_age() -> None:
    found = [json.loads(path.read_text()) for path in KEPT]
    assert {content["schema"] for content in found} == {SCHEMA}
    assert {content["workload"] for content in found} >= {"distance", "search", "serving"}
    assert min(content["started_at"] for content in found) < "2026-11-25"


@pytest.mark.parametrize("name", NAMES)
def test_what_an_experiment_keeps_is_read_and_shown_whole(name: str) -> None:
    mine = [path for path in KEPT if path.relative_to(EXPERIMENTS).parts[0] == name]
    runs = record.find([EXPERIMENTS / name])
    assert len(runs) == len(mine)
    for path in mine:
        content, read = json.loads(path.read_text()), record.read(path)
        assert (read.results, read.levels, read.config) == (
            content["results"], content["levels"], content["config"],
        )  # fmt: skip
    assert len(rows(runs)) >= len(runs)
    assert "<h1" in page.render(EXPERIMENTS / name, runs)


def test_the_oldest_is_compared_with_itself_and_nothing_differs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(OLDEST), str(OLDEST), "--fail-if-slower", "1%"]) == 0
    assert capsys.readouterr().out
