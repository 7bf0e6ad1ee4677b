from __future__ import annotations

import numpy as np
import pytest
from schedule_of import due
from sections import arrivals

from mlsys.errors import UserError


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_the_gaps_have_the_mean_and_the_variation_that_were_asked_for(burstiness: float) -> None:
    gamma = arrivals("gamma", request_rate=5, burstiness=burstiness)
    gaps = np.diff(due(gamma.process(5, seed=3), 40_000))
    assert np.mean(gaps) == pytest.approx(0.2, rel=0.03)
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(burstiness**-0.5, rel=0.03)
    assert gamma.describe(5)["arrival_gap_cv"] == pytest.approx(burstiness**-0.5)


def test_a_burstiness_of_one_has_the_tail_of_independent_users() -> None:
    gaps = np.diff(due(arrivals("gamma", request_rate=1, burstiness=1.0).process(1, seed=3), 40_000))
    assert np.mean(gaps > 3) == pytest.approx(np.exp(-3), rel=0.05)


def test_one_seed_gives_all_rates_one_pattern() -> None:
    gamma = arrivals("gamma", request_rate=[1, 2])
    assert due(gamma.process(2, 7), 50) == pytest.approx([at / 2 for at in due(gamma.process(1, 7), 50)])
    assert due(gamma.process(1, 7), 50) != due(gamma.process(1, 8), 50)


def test_no_burstiness_is_named() -> None:
    with pytest.raises(UserError, match=r"^loadtest\.burstiness=0 must be more than 0$"):
        arrivals("gamma", burstiness=0.0)
