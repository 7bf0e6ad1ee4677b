"""Streams whose figures can be told without measuring."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from made_rows import row

from mlsys.loadtest.rows import Row
from mlsys.loadtest.token_statistics import histogram, streams


def streamed(first_s: float, gaps_ms: list[float], done_s: float, tokens: int | None = None) -> Row:
    made = row(0, done_s, first_text_s=first_s, itl_ms=array("f", gaps_ms))
    made.tokens = tokens
    return made


def test_the_first_text_the_time_per_token_and_each_gap() -> None:
    rows = [
        streamed(0.1, [100, 100, 200], 0.55, tokens=10),  # 450 ms for the 9 tokens after the first
        streamed(0.3, [50], 0.4, tokens=2),
    ]
    found = streams(rows)
    assert [found["ttft_ms.mean"], found["ttft_ms.max"]] == pytest.approx([200, 300])
    assert [found["tpot_ms.p50"], found["tpot_ms.max"]] == pytest.approx([75, 100])
    assert (found["itl_ms.mean"], found["itl_ms.max"]) == (112.5, 200)
    assert found["ttft_is_e2e"] is False
    assert {name: value for name, value in found.items() if name.startswith("itl_ms.hist")} == {
        "itl_ms.hist.50.1": 1,
        "itl_ms.hist.100": 2,
        "itl_ms.hist.251": 1,
    }


def test_answers_that_came_whole_say_so_and_have_no_time_per_token() -> None:
    whole = row(0, 0.5, first_text_s=0.5, tokens=32)
    found = streams([whole, streamed(0.5, [], 0.5, tokens=32), streamed(0.5, [], 0.5, tokens=1)])
    assert found["ttft_is_e2e"] is True
    assert found["ttft_ms.p50"] == 500
    assert found["tpot_ms.p50"] is None
    assert streams([streamed(0.5, [], 0.5, tokens=1)])["ttft_is_e2e"] is False


def test_what_was_not_asked_for_piece_by_piece_says_nothing_of_it() -> None:
    assert streams([row(0, 0.5)]) == streams([]) == {}


def test_every_value_is_counted_in_the_bin_that_ends_at_or_above_it() -> None:
    assert histogram("x", [1.0, 1.25, 1.26, 1000, 1001]) == {
        "x.hist.1": 1,
        "x.hist.1.26": 1,
        "x.hist.1.58": 1,
        "x.hist.1000": 1,
        "x.hist.1259": 1,
    }
    assert histogram("x", []) == {}
    assert histogram("x", [0.0]) == {"x.hist.0.001": 1}
    many = np.random.default_rng(1).lognormal(3, 2, 1000).astype(np.float32)
    assert sum(int(str(count)) for count in histogram("x", many).values()) == 1000
