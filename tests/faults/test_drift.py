"""Whether a level's end is like its beginning, of levels made by hand."""

from __future__ import annotations

import pytest
from made_rows import row

from mlsys.faults.conductor import Course
from mlsys.faults.drift import course, describe
from mlsys.faults.residue import Held
from mlsys.loadtest.rows import table

SECONDS = 60


def seen(growth_mib: float) -> Course:
    holds = [(float(at), Held(3, 8, 20, 4, 0, 500 + growth_mib * (at >= 40))) for at in range(0, SECONDS, 2)]
    return Course(0.0, holds=holds)


def test_what_grew_and_what_became_slower_is_told_as_a_share_of_the_beginning() -> None:
    rows = table([row(at, at + (0.1 if at < 40 else 0.12)) for at in range(SECONDS)])
    values = describe(rows, seen(50.0), 0.0)
    assert values["drift.memory_mib"] == pytest.approx(0.1)
    assert values["drift.e2e_ms.p50"] == pytest.approx(0.2)
    assert (values["drift.files"], values["drift.threads"], values["drift.processes"]) == (0, 0, 0)


def test_a_short_level_says_nothing_of_drift_and_still_shows_what_was_held() -> None:
    rows = table([row(at / 10, at / 10 + 0.1) for at in range(SECONDS)])
    assert describe(rows, seen(0.0), 0.0) == {}
    assert course(seen(0.0), 0.0)["timeline.held_s"][:2] == [0, 2]
