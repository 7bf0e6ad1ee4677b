from __future__ import annotations

import numpy as np
import pytest

from mlsys.theory.cost import Cost, fit


def test_a_batch_costs_its_requests_and_what_it_costs_anyhow() -> None:
    assert Cost(1.0, 21.0)(10) == 31
    assert Cost(1.0, 21.0).longer(2.0)(10) == 33


def test_a_cost_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="costs must be 0 or more"):
        Cost(-1.0, 2.0)


def test_the_cost_of_measured_batches_is_found() -> None:
    random, sizes = np.random.default_rng(1), np.arange(1.0, 33.0).repeat(20)
    found = fit(sizes, (2.0 * sizes + 30) * random.normal(1, 0.02, len(sizes)))
    assert found.cost.per_request_ms == pytest.approx(2.0, rel=0.03)
    assert found.cost.base_ms == pytest.approx(30.0, rel=0.03)
    assert found.residual == pytest.approx(0.02, rel=0.2)


def test_batches_of_one_size_tell_of_that_size_only() -> None:
    found = fit([4, 4], [10.0, 10.0])
    assert found.cost == Cost(0.0, 10.0)
    assert found.worst == 0


def test_neither_part_is_below_zero() -> None:
    assert fit([1, 2, 4], [1.0, 2.0, 5.0]).cost.base_ms == 0
    assert fit([1, 2, 4], [10.0, 9.0, 8.0]).cost.per_request_ms == 0


def test_what_a_model_cannot_follow_shows_in_its_residuals() -> None:
    assert fit([1, 2, 4, 8], [10.0, 10.0, 10.0, 40.0]).worst > 0.2


def test_without_a_batch_there_is_no_cost() -> None:
    with pytest.raises(ValueError, match="took some time"):
        fit([], [])
