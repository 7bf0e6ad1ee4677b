from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schedule_of import due
from sections import arrivals

from mlsys.loadtest.arrivals import ArrivalProcess, OpenLoop
from mlsys.loadtest.arrivals.closed import ClosedLoop
from mlsys.loadtest.questions import Order, Question
from mlsys.loadtest.share import WHOLE, Share

SIZES = st.integers(1, 7)


def shares(of: int) -> list[Share]:
    return [Share(index, of) for index in range(of)]


@given(SIZES, st.integers(0, 100), st.integers(0, 100))
def test_every_request_is_in_one_share(of: int, warmup: int, measured: int) -> None:
    assert sum(share.count(measured) for share in shares(of)) == measured
    own = [share.count(warmup + measured) - share.count(warmup) for share in shares(of)]
    assert sum(own) == measured
    numbers = sorted(share.number(i) for share in shares(of) for i in range(share.count(measured)))
    assert numbers == list(range(measured))


@given(SIZES, st.lists(st.floats(0, 10), max_size=40).map(sorted))
def test_all_shares_of_an_open_loop_together_are_the_loop(of: int, times: list[float]) -> None:
    found = []
    for share in shares(of):
        mine = due(share.arrivals(OpenLoop.at(times)), share.count(len(times)) + 1)
        assert mine[-1] == math.inf
        found += [(share.number(i), at) for i, at in enumerate(mine[:-1])]
    assert sorted(found) == list(enumerate(times))


@pytest.mark.parametrize("name", ["poisson", "gamma", "constant", "burst"])
def test_two_processes_send_what_one_would(name: str) -> None:
    made: Any = arrivals(name)
    whole = due(made.process(3.0, 5), 40)
    halves = [due(share.arrivals(made.process(3.0, 5)), 20) for share in shares(2)]
    assert [halves[i % 2][i // 2] for i in range(40)] == whole


@given(SIZES, st.integers(1, 30))
def test_all_shares_of_a_closed_loop_together_have_its_clients(of: int, clients: int) -> None:
    def held(process: ArrivalProcess) -> int:
        return next(n for n in range(clients + 1) if process.due_s(0.0, n) is None)

    own = [held(share.arrivals(ClosedLoop(clients))) for share in shares(of)]
    assert sum(own) == clients
    assert max(own) - min(own) <= 1


def test_a_share_asks_the_loads_questions() -> None:
    order = Order([Question(i, str(i), None) for i in range(10)], 3)
    asked = [Share(1, 3).questions(order)[i].id for i in range(4)]
    assert asked == [order[i].id for i in (1, 4, 7, 10)]
    assert WHOLE.questions(order) is order
