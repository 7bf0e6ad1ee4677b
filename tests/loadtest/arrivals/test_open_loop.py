from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from schedule_of import due
from sections import arrivals

from mlsys.errors import UserError
from mlsys.loadtest.arrivals import OpenLoop


def test_constant_is_a_clock() -> None:
    assert due(arrivals("constant", request_rate=4).process(4, seed=1), 4) == [0.0, 0.25, 0.5, 0.75]


def test_burst_keeps_the_mean_rate() -> None:
    burst = arrivals("burst", request_rate=2, burst_size=3)
    assert due(burst.process(2, seed=1), 7) == [0, 0, 0, 1.5, 1.5, 1.5, 3]
    assert burst.describe(2) == {"offered_rate_rps": 2, "burst_size": 3, "burst_period_s": 1.5}


def test_poisson_has_exponential_gaps() -> None:
    gaps = np.diff(due(arrivals("poisson", request_rate=5).process(5, seed=3), 20_000))
    assert np.mean(gaps) == pytest.approx(0.2, rel=0.03)
    assert np.std(gaps) == pytest.approx(0.2, rel=0.03)
    assert np.mean(gaps > 0.2) == pytest.approx(np.exp(-1), abs=0.01)


def test_poisson_repeats_itself_by_seed_and_stretches_by_rate() -> None:
    poisson = arrivals("poisson", request_rate=[1, 2])
    one, again, other = (due(poisson.process(1, seed), 50) for seed in (7, 7, 8))
    assert one == again != other
    assert due(poisson.process(2, 7), 50) == pytest.approx([at / 2 for at in one])


def test_sending_decides_when_the_next_is_due() -> None:
    process = arrivals("constant", request_rate=1).process(1, seed=0)
    assert process.due_s(0, 0) == process.due_s(5, 3) == 0
    process.sent()
    assert process.due_s(0, 0) == 1


def test_arrivals_that_end_say_so() -> None:
    assert due(OpenLoop([0.5, 0.25]), 3) == [0.5, 0.75, math.inf]
    assert due(OpenLoop.at([0.5, 0.5, 2]), 5) == [0.5, 0.5, 2, math.inf, math.inf]
    assert due(OpenLoop.at([]), 1) == [math.inf]


@pytest.mark.parametrize("kind", ["poisson", "constant", "burst", "gamma"])
@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (-1, "loadtest.request_rate=-1 must be more than 0"),
        ([1, 0], "loadtest.request_rate=0 must be more than 0"),
        ("fast", "loadtest.request_rate=fast must be more than 0"),
        (float("inf"), "loadtest.request_rate=inf must be more than 0"),
        ([], "loadtest.request_rate=[] must name at least one value"),
    ],
)
def test_bad_rates_are_named(kind: str, rate: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        arrivals(kind, request_rate=rate)
    assert str(caught.value) == message


def test_bad_burst_size_is_named() -> None:
    with pytest.raises(UserError, match=r"^loadtest\.burst_size=0 must be a whole number of at least 1"):
        arrivals("burst", burst_size=0)


def test_default_warmup() -> None:
    assert arrivals("poisson").warmup(1, 60) == 6
    assert arrivals("poisson").warmup(1, None) == 5
    assert arrivals("constant").warmup(1, 20) == 5
    assert arrivals("burst", burst_size=12).warmup(1, 60) == 12
