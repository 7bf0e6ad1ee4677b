from __future__ import annotations

from mlsys.loadtest.stats import difference


def test_a_level_gets_what_was_counted_during_it() -> None:
    before, after = {"closed": {"full": 2, "idle": 1}}, {"closed": {"full": 5, "idle": 1, "deadline": 4}}
    assert difference(before, after) == {"closed_by.deadline": 4, "closed_by.full": 3, "closed_by.idle": 0}


def test_a_service_that_tells_nothing() -> None:
    assert difference(None, None) == difference({}, {"other": 1}) == {}
