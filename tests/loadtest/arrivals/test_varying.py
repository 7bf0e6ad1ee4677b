from __future__ import annotations

import math
from itertools import takewhile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schedule_of import due
from sections import arrivals

from mlsys.errors import UserError
from mlsys.loadtest.arrivals.varying import Stretch, mean_rate_rps, times

RATES = st.floats(0, 1e4, allow_subnormal=False)
STRETCHES = st.builds(Stretch, st.floats(1e-3, 1e3), RATES, RATES)


@given(STRETCHES, st.floats(0, 1))
def test_the_time_after_which_so_many_are_due_is_the_integral_of_the_rate_turned_round(
    stretch: Stretch, share: float
) -> None:
    at_s = stretch.after_s(share * stretch.requests)
    slope = (stretch.to_rps - stretch.from_rps) / stretch.duration_s
    due_by_then = stretch.from_rps * at_s + slope * at_s**2 / 2
    assert 0 <= at_s <= stretch.duration_s * (1 + 1e-6)
    assert due_by_then == pytest.approx(share * stretch.requests, rel=1e-6, abs=1e-6 * (1 + stretch.requests))


@given(st.lists(STRETCHES, min_size=1, max_size=4), st.integers(0, 2**32))
def test_requests_come_in_order_and_end_with_the_course(course: list[Stretch], seed: int) -> None:
    end_s = sum(stretch.duration_s for stretch in course)
    found = [at for at, _ in zip(times(course, seed), range(200), strict=False)]
    assert found == sorted(found)
    assert all(0 <= at <= end_s * (1 + 1e-9) for at in found)


def test_a_course_of_one_rate_is_poisson_to_the_digit() -> None:
    wanted = takewhile(lambda at: at < 50, due(arrivals("poisson", request_rate=4).process(4, 3), 500))
    assert list(times([Stretch(20, 4, 4), Stretch(30, 4, 4)], 3)) == pytest.approx(list(wanted))


def test_a_ramp_has_each_rate_in_its_time() -> None:
    ramp = arrivals("ramp", start_rate=100, end_rate=300, ramp_s=100.0)
    (level,) = ramp.levels
    assert level == 200
    assert ramp.describe(level) == {"offered_rate_rps": 200, "start_rate_rps": 100, "end_rate_rps": 300}
    found = np.array([at for at in due(ramp.process(level, 1), 25_000) if at < math.inf])
    counts, _ = np.histogram(found, bins=4, range=(0, 100))
    assert counts.tolist() == pytest.approx([3125, 4375, 5625, 6875], rel=0.05)


def test_steps_follow_each_other_and_silence_is_one() -> None:
    step = arrivals("step", rates=[50.0, 0.0, 200.0], step_s=10.0)
    (level,) = step.levels
    found = np.array([at for at in due(step.process(level, 1), 5_000) if at < math.inf])
    counts, _ = np.histogram(found, bins=3, range=(0, 30))
    assert counts.tolist() == [pytest.approx(500, rel=0.15), 0, pytest.approx(2000, rel=0.08)]
    assert level == mean_rate_rps([Stretch(1, 50, 50), Stretch(1, 0, 0), Stretch(1, 200, 200)])
    assert step.describe(level)["step.2.offered_rate_rps"] == 200


def test_bad_rates_are_named() -> None:
    with pytest.raises(UserError, match=r"^loadtest\.start_rate=0 must be more than 0$"):
        arrivals("ramp", start_rate=0.0)
    for rates, shown in (([], ""), ([0.0], "0"), ([1.0, -1.0], "1,-1"), ([math.inf], "inf")):
        with pytest.raises(UserError, match=rf"^loadtest\.rates=\[{shown}\] must be at least 0"):
            arrivals("step", rates=rates)
