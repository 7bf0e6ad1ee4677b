from __future__ import annotations

from typing import Any

import pytest
from sections import arrivals

from mlsys.errors import UserError


def test_due_at_once_below_the_concurrency_and_never_above() -> None:
    process = arrivals("closed", concurrency=2).process(2, seed=0)
    assert [process.due_s(1.5, in_flight) for in_flight in (0, 1, 2, 3)] == [1.5, 1.5, None, None]


def test_a_list_is_a_level_each() -> None:
    closed = arrivals("closed", concurrency=[1, 5, 20])
    assert closed.levels == [1, 5, 20]
    assert closed.describe(5) == {"concurrency": 5}
    assert closed.warmup(20, 60) == 20


@pytest.mark.parametrize("concurrency", [0, -3, 1.5, "many", True, [4, 0]])
def test_bad_concurrency_is_named(concurrency: Any) -> None:
    shown = concurrency[-1] if isinstance(concurrency, list) else concurrency
    with pytest.raises(UserError) as caught:
        arrivals("closed", concurrency=concurrency)
    assert str(caught.value) == f"loadtest.concurrency={shown} must be a whole number of at least 1"
