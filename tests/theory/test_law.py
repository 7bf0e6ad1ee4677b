from __future__ import annotations

import math

import pytest

from mlsys.theory.law import Unstable, quantile, stable


def test_a_percentile_is_where_the_distribution_reaches_it() -> None:
    assert quantile(lambda at: 1 - math.exp(-at / 5), 0.95, 5.0) == pytest.approx(-5 * math.log(0.05))


def test_a_percentile_within_a_share_that_takes_no_time_is_zero() -> None:
    assert quantile(lambda at: 0.6 if at < 3 else 1.0, 0.5, 1.0) == 0
    assert quantile(lambda at: 0.6 if at < 3 else 1.0, 0.9, 1.0) == pytest.approx(3)


def test_a_worker_that_gets_all_it_can_do_or_more_has_no_steady_state() -> None:
    assert stable(0.99) == 0.99
    with pytest.raises(Unstable, match=r"the load is 1\.1 of what can be served"):
        stable(1.1)
    with pytest.raises(Unstable):
        stable(1.0)
