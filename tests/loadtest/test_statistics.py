from __future__ import annotations

import numpy as np
import pytest

from mlsys.loadtest.phases import COOLDOWN, MEASURED, WARMUP
from mlsys.loadtest.rows import FAILED, OK, REJECTED, TIMED_OUT, Row
from mlsys.loadtest.statistics import (
    batches,
    counts,
    distribution,
    goodput,
    mean_in_flight,
    stages,
    summarise,
    window,
)


def row(intended_s: float, done_s: float, phase: str = MEASURED, outcome: str = OK, **more: object) -> Row:
    made = Row(0, 0, phase=phase, intended_s=intended_s, sent_s=intended_s, done_s=done_s, outcome=outcome)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_percentiles_are_numpys_and_p99_needs_a_hundred() -> None:
    values = [float(v) for v in range(1, 100)]
    few, enough = distribution("x", values), distribution("x", [*values, 100.0])
    assert few["x.p99"] is None
    assert few["x.p50"] == 50
    assert enough["x.p99"] == pytest.approx(99.01)
    assert enough["x.p95"] == pytest.approx(np.percentile(range(1, 101), 95))
    assert (enough["x.mean"], enough["x.max"]) == (50.5, 100)


def test_nothing_measured_is_none_not_zero() -> None:
    assert set(distribution("x", []).values()) == {None}


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


def test_without_warmup_the_window_opens_with_the_first_request() -> None:
    found = window([row(0, 2), row(1, 4)])
    assert (found.start_s, found.end_s, found.answers) == (0, 4, 2)


def test_only_good_answers_are_throughput() -> None:
    rows = [row(i, i + 1, outcome=OK if i % 2 else FAILED) for i in range(10)]
    assert window(rows).answers == 5
    assert window([row(0, 1, outcome=FAILED)]).rate_rps == 0


def test_outcomes_are_counted_apart() -> None:
    rows = [row(0, 1), row(0, 1, outcome=REJECTED, retry_after_s=3.0), row(0, 1, outcome=REJECTED)]
    rows += [row(0, 1, outcome=TIMED_OUT, error="late"), row(0, 1, outcome=FAILED, error="bad")]
    rows += [row(0, 1, outcome=FAILED, error="bad")]
    found = counts(rows)
    assert [found[name] for name in ("requests", "succeeded", "rejected", "timed_out", "failed")] == [
        6,
        1,
        2,
        1,
        2,
    ]
    assert found["success_rate"] == pytest.approx(1 / 6)
    assert (found["rejected_with_retry_after"], found["retry_after_s.mean"]) == (1, 3.0)
    assert found["most_frequent_error"] == "bad"


def test_batch_sizes_are_over_batches_not_requests() -> None:
    rows = [row(0, 1, batch_size=size) for size in [1] * 2 + [4] * 8]
    found = batches(rows)
    assert found["batch_size.mean"] == pytest.approx(10 / 4)
    assert found["batch_size.max"] == 4
    assert (found["batch_size.hist.1"], found["batch_size.hist.4"]) == (2, 2)
    assert batches([row(0, 1)]) == {"batch_size.mean": None, "batch_size.max": None}


def test_stages_and_what_is_outside_them_are_the_latency() -> None:
    rows = [row(0, 0.1, queue_ms=20.0, generate_ms=70.0), row(0, 0.2, queue_ms=100.0, generate_ms=90.0)]
    found = stages(rows)
    assert found["stage_ms.queue.mean"] == 60
    assert found["stage_ms.generate.max"] == 90
    assert found["outside_ms.mean"] == pytest.approx(10)
    assert "stage_ms.embed.mean" not in found


def test_goodput_is_a_share_of_all_requests() -> None:
    rows = [row(0, 0.1), row(0, 0.3), row(0, 0.1, outcome=REJECTED), row(0, 0.1)]
    assert goodput(rows, 6.0, 200) == {"slo_ms": 200, "goodput": 0.5, "goodput_rps": 4.0}
    assert goodput(rows, 6.0, None) == {}


def test_in_flight_counts_only_what_lies_inside() -> None:
    assert mean_in_flight([row(0, 4), row(2, 10)], 2, 6) == pytest.approx((2 + 4) / 4)


def test_latency_counts_from_the_intended_time() -> None:
    late = row(1.0, 3.0)
    late.sent_s = 2.5
    values, _ = summarise([[late]], slo_ms=None)
    assert values["e2e_ms.mean"] == pytest.approx(2000)
    assert values["dispatch_delay_ms.max"] == pytest.approx(1500)


def test_repeats_are_pooled_and_their_spread_told() -> None:
    fast = [row(i, i + 1, tokens=10) for i in range(4)]
    slow = [row(2 * i, 2 * i + 2, tokens=10) for i in range(4)]
    values, samples = summarise([fast, slow], slo_ms=None)
    assert values["requests"] == 8
    assert samples["throughput_rps"] == [1.0, 0.5]
    assert values["throughput_rps"] == 0.75
    assert values["throughput_rps.spread"] == pytest.approx(0.5 / 0.75)
    assert values["output_tokens_per_s"] == 7.5
    assert samples["e2e_ms.mean"] == [1000, 2000]
    assert summarise([fast], None)[0]["throughput_rps.spread"] is None
