from __future__ import annotations

import pytest
from made_rows import row

from mlsys.loadtest.phases import COOLDOWN, MEASURED, WARMUP
from mlsys.loadtest.rows import FAILED, OK, Row
from mlsys.loadtest.window import mean_in_flight, window


def test_a_serial_service_in_a_closed_loop_has_its_own_rate() -> None:
    """Two clients, 1 s an answer: answers at 1, 2, 3 … whatever the phases."""
    rows = [row(0, 1, WARMUP), row(0, 2, WARMUP)]
    rows += [row(i - 1, i + 1, MEASURED) for i in range(2, 12)]
    rows += [row(i - 1, i + 1, COOLDOWN) for i in range(12, 14)]
    found = window(rows)
    assert (found.start_s, found.end_s, found.answers) == (1, 12, 11)
    assert found.rate_rps == 1


def batched(size: int, batch_s: float, number: int, warmup: int, measured: int) -> list[Row]:
    """`size` clients served in batches of `size`, the answers of a batch 0.1 ms apart."""
    rows = []
    for turn in range(number):
        for place in range(size):
            start = 0.0 if turn == 0 else turn * batch_s + place * 1e-4
            rows.append(row(start, (turn + 1) * batch_s + place * 1e-4))
    for place, one in enumerate(rows):
        one.phase = WARMUP if place < warmup else MEASURED if place < warmup + measured else COOLDOWN
    return rows


@pytest.mark.parametrize(("warmup", "measured"), [(8, 24), (8, 20), (3, 24), (11, 26), (8, 1)])
def test_a_window_does_not_cut_batches(warmup: int, measured: int) -> None:
    rows = batched(size=8, batch_s=2.0, number=6, warmup=warmup, measured=measured)
    assert window(rows).rate_rps == pytest.approx(4.0, rel=1e-3)


def test_a_closed_loop_that_starts_with_a_lone_request() -> None:
    """An idle batcher takes the first alone: 1, then 7 and the first again, then 8 each time."""
    rows = [row(0, 1, WARMUP)] + [row(0, 3, WARMUP) for _ in range(7)] + [row(1, 3)]
    for turn in range(3):
        rows += [row(3 + 2 * turn, 5 + 2 * turn) for _ in range(8)]
    assert window(rows).rate_rps == pytest.approx(4.0)


@pytest.mark.parametrize("measured", [8, 20, 24, 30])
@pytest.mark.parametrize("apart_s", [0.0001, 0.02, 0.1])
def test_clients_in_step_have_the_rate_of_their_step_however_their_answers_are_spread(
    measured: int, apart_s: float
) -> None:
    rows = []
    for turn in range(8):
        for place in range(8):
            start = 0.0 if turn == 0 else turn * 0.94 + place * apart_s
            rows.append(row(start, (turn + 1) * 0.94 + place * apart_s))
    for place, one in enumerate(rows):
        one.concurrency = 8
        one.phase = WARMUP if place < 8 else MEASURED if place < 8 + measured else COOLDOWN
    found = window(rows)
    assert found.rate_rps == pytest.approx(8 / 0.94)
    assert mean_in_flight(rows, found.start_s, found.end_s) == pytest.approx(8)


def test_without_warmup_the_window_opens_with_the_first_request() -> None:
    found = window([row(0, 2), row(1, 4)])
    assert (found.start_s, found.end_s, found.answers) == (0, 4, 2)


def test_only_good_answers_are_throughput() -> None:
    rows = [row(i, i + 1, outcome=OK if i % 2 else FAILED) for i in range(10)]
    assert window(rows).answers == 5
    assert window([row(0, 1, outcome=FAILED)]).rate_rps == 0


def test_in_flight_counts_only_what_lies_inside() -> None:
    assert mean_in_flight([row(0, 4), row(2, 10)], 2, 6) == pytest.approx((2 + 4) / 4)
