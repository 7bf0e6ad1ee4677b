from __future__ import annotations

import pytest

from mlsys.theory.cost import Cost
from mlsys.theory.replay import batches, line


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
