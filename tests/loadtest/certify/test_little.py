from __future__ import annotations

import pytest
from made_rows import row

from mlsys.loadtest.certify import little
from mlsys.loadtest.window import window


def test_a_steady_level_keeps_the_law() -> None:
    rows = [row(at, at + 2.0) for at in range(1_000)]
    assert little.ratio([rows], [window(rows)]) == pytest.approx(1.0, abs=0.01)


def test_requests_that_gather_break_it() -> None:
    rows = [row(at, 2.0 * at + 1) for at in range(200)]  # two arrive for one that leaves
    seen = [one for one in rows if one.done_s <= 200] + [
        row(at, 1e6, phase="cooldown") for at in range(100, 200)
    ]
    assert (little.ratio([seen], [window(rows[:100])]) or 0) > 1.3


def test_a_window_without_an_answer_says_nothing() -> None:
    rows = [row(0.0, 1.0, outcome="failed")]
    assert little.ratio([[]], [window(rows)]) is None
