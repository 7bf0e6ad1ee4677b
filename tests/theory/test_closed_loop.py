from __future__ import annotations

import pytest

from mlsys.theory.closed_loop import ClosedLoop, crossing
from mlsys.theory.cost import Cost


@pytest.mark.parametrize("clients", [1, 5, 20])
def test_all_clients_go_in_one_batch(clients: int) -> None:
    loop = ClosedLoop(clients, Cost(1.0, 21.0), max_batch=32)
    assert loop.throughput_rps == pytest.approx(1e3 * clients / (clients + 21))
    assert loop.mean_ms == pytest.approx(clients + 21)


def test_more_clients_than_fit_wait_for_several_batches() -> None:
    loop = ClosedLoop(64, Cost(1.0, 21.0), max_batch=32)
    assert loop.throughput_rps == pytest.approx(32e3 / 53)
    assert loop.mean_ms == pytest.approx(106)


def test_one_at_a_time_each_waits_for_all_others() -> None:
    loop = ClosedLoop(5, Cost(0.0, 22.0), max_batch=1)
    assert loop.throughput_rps == pytest.approx(1e3 / 22)
    assert loop.mean_ms == pytest.approx(110)


def test_clients_begin_to_wait_where_the_bounds_cross() -> None:
    assert crossing(alone_ms=100, most_rps=40) == pytest.approx(4)
