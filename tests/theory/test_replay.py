from __future__ import annotations

import numpy as np
import pytest

from mlsys.theory.choices import Choices
from mlsys.theory.cost import Cost
from mlsys.theory.refusing import Refusing
from mlsys.theory.replay import batches, behind_a_door, line, shortest


def test_one_worker_serves_in_order() -> None:
    assert line([0, 1, 30], [10, 10, 10]).tolist() == [10, 19, 10]


def test_two_workers_serve_two_at_once() -> None:
    assert line([0, 1, 2], [10, 10, 10], workers=2).tolist() == [10, 10, 18]


def test_a_batch_takes_who_has_come_by_then() -> None:
    latencies, sizes = batches([0, 1, 2, 40], Cost(1, 9))
    assert sizes == [1, 2, 1]
    assert latencies.tolist() == pytest.approx([10, 20, 19, 10])


def test_a_batch_takes_no_more_than_it_may() -> None:
    latencies, sizes = batches([0, 1, 2, 3], Cost(1, 9), max_batch=2)
    assert sizes == [1, 2, 1]
    assert latencies.tolist() == pytest.approx([10, 20, 19, 28])


def test_a_window_holds_the_first_where_it_is_not_sent_at_once() -> None:
    assert batches([0, 3, 50], Cost(1, 9), window_ms=5, at_once=False)[1] == [2, 1]
    assert batches([0, 3, 50], Cost(1, 9), window_ms=5)[1] == [1, 1, 1]


def test_each_goes_to_the_replica_with_the_fewest_inside() -> None:
    # The third comes while the second replica is alone; the fourth finds one inside each, and was served by the second.
    assert shortest([0, 1, 12, 13], [10, 30, 10, 10], 2, [0, 1, -1, 1]).tolist() == [10, 30, 10, 28]
    assert shortest([0, 1, 12, 13], [10, 30, 10, 10], 2, [0, 1, -1, 0]).tolist() == [10, 30, 10, 19]


def test_a_replica_that_was_not_the_shortest_is_not_taken() -> None:
    assert shortest([0, 1], [10, 10], 2, [0, 0]).tolist() == [10, 10]


def test_the_shortest_of_all_is_the_form_for_all_drawn() -> None:
    random, count = np.random.default_rng(1), 60_000
    arrivals, services = np.cumsum(random.exponential(1e3 / 60, count)), random.exponential(22.0, count)
    mean = shortest(arrivals, services, 2, [-1] * count).mean()
    assert mean == pytest.approx(Choices(60.0, 22.0, 2, 2).mean_ms, rel=0.03)


def test_a_door_refuses_who_would_be_late_by_its_plan() -> None:
    # Planned with 10 ms each and 20 at most: the third and fourth would be answered 29 and 28 ms after they came.
    latencies, let_in = behind_a_door([0, 1, 1, 2], [10, 10, 10, 10], 10, 20)
    assert let_in.tolist() == [True, True, False, False]
    assert latencies.tolist() == [10, 19, 29, 28]  # the fourth as if the third had never come


def test_a_door_does_not_know_that_a_service_takes_longer_than_planned() -> None:
    latencies, let_in = behind_a_door([0, 1, 12], [30, 10, 10], 10, 15)
    assert let_in.tolist() == [True, False, True]
    assert latencies[2] == 28


def test_an_idle_worker_takes_anybody() -> None:
    assert behind_a_door([0, 50], [10, 10], 40, 20)[1].all()


def test_behind_a_door_it_is_the_form_of_the_door() -> None:
    arrivals = np.cumsum(np.random.default_rng(1).exponential(1e3 / 40, 60_000))
    found, let_in = behind_a_door(arrivals, np.full(60_000, 22.0), 22.0, 100.0)
    law = Refusing(40.0, 22.0, 100.0)
    assert let_in.mean() == pytest.approx(law.admitted, abs=0.006)
    assert found[let_in].mean() == pytest.approx(law.mean_ms, rel=0.01)
