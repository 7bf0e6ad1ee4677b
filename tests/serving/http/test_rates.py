"""How often one client may ask."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlsys.serving.http import rates
from mlsys.serving.http.rates import Rates


def test_a_burst_then_the_rate_and_when_to_come_back() -> None:
    now = [0.0]
    limit = Rates(0.5, 2, lambda: now[0])
    assert [limit.wait_s("a") for _ in range(4)] == [0, 0, 2, 2]
    now[0] = 1.0
    assert limit.wait_s("a") == 1
    now[0] = 2.0
    assert [limit.wait_s("a"), limit.wait_s("a")] == [0, 2]
    now[0] = 1000.0
    assert [limit.wait_s("a") for _ in range(3)] == [0, 0, 2]
    assert limit.wait_s("b") == 0


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.1, 10), st.integers(1, 5))
def test_never_more_than_the_burst_and_the_rate_allow(gaps: list[float], per_s: float, burst: int) -> None:
    now = [0.0]
    limit, taken = Rates(per_s, burst, lambda: now[0]), 0
    for gap in gaps:
        now[0] += gap
        taken += limit.wait_s("a") == 0
    assert taken <= burst + per_s * now[0] + 1e-6


def test_forgotten_clients_are_bounded() -> None:
    limit = Rates(1.0, 1, lambda: 0.0)
    for client in range(rates.MOST + 10):
        limit.wait_s(str(client))
    assert len(limit._buckets) == rates.MOST
