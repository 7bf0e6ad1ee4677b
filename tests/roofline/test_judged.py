"""Utilisation and what bounds a step, by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from mlsys.roofline import counts, judged
from mlsys.roofline.counts import Counts
from mlsys.roofline.judged import Used
from mlsys.roofline.work import Work

WORK = Work(weight_bytes=1_000_000, body=500_000, head=100_000, kv_bytes=100, attention=10)
TOLD = {f"generator.{name}": value for name, value in WORK.describe().items()}
PIPELINE = {**TOLD, "generator.peak.bandwidth_gbps": 1.0, "generator.peak.tflops": 0.01}


def test_shares_of_the_peaks() -> None:
    found = judged.used(WORK, Counts(10, 20_000, 0, 40, 5960, 5960), 1.0, 0.01)
    assert found.mbu == pytest.approx((10_000_000 + 6000 * 100) / 0.02 / 1e9)
    assert found.mfu == pytest.approx((2 * 600_000 * 40 + 59_600) / 0.02 / 1e10)
    assert judged.used(WORK, Counts(10, 20_000, 0, 40, 0, 0), None, None) == Used(None, None)


@pytest.mark.parametrize(
    ("share", "busy", "delayed", "bound"),
    [
        (Used(0.6, 0.1), 0.9, 0.0, "memory"),
        (Used(0.3, 0.5), 0.9, 0.0, "compute"),
        (Used(0.1, 0.1), 0.9, 0.0, "launch"),
        (Used(0.6, 0.1), 0.5, 0.0, "host"),
        (Used(0.6, 0.1), 0.9, 0.3, "host"),
        (Used(None, None), 0.9, 0.0, None),
        (Used(0.1, None), 0.9, 0.0, None),
        (Used(0.5, None), 0.9, 0.0, "memory"),
    ],
)
def test_the_rule(share: Used, busy: float, delayed: float, bound: str | None) -> None:
    assert judged.bound(share, busy, delayed) == bound


def test_a_batch_in_step_is_counted_by_its_size() -> None:
    found = counts.of_batch([3, 5], [2, 1], 0.5)
    # the first writes one more token that sees its prompt and itself; reading sees 1 + 2 + 3 and 1 + ... + 5
    assert found == Counts(steps=2, us=500_000, read=8, written=3, held=4, seen=4 + 6 + 15)
    tally = Counter[str]()
    counts.add(tally, 2, found)
    counts.add(tally, 2, found)
    assert (tally["2.steps"], tally["2.held"]) == (4, 8)
    assert [counts.size_of(batch) for batch in (1, 2, 3, 4, 5, 128, 129)] == [1, 2, 4, 4, 8, 128, 256]


def test_a_level_tells_its_shares_by_batch_size() -> None:
    tally = Counter[str]()
    counts.add(tally, 1, Counts(100, 200_000, 0, 100, 0, 0))
    counts.add(tally, 4, Counts(100, 300_000, 0, 400, 0, 0))
    found = judged.level({**tally, "present_us": 625_000, "waited_us": 50_000}, PIPELINE)
    assert found["decode.mbu"] == pytest.approx((200 * 1_000_000 + 500 * 100) / 0.5 / 1e9)
    assert found["decode.batch_1.mbu"] == pytest.approx(100 * 1_000_100 / 0.2 / 1e9)
    assert found["decode.batch_4.mfu"] == pytest.approx(2 * 600_000 * 400 / 0.3 / 1e10)
    assert found["decode.batch_4.step_ms"] == pytest.approx(3.0)
    assert (found["decode.busy_share"], found["decode.delayed_share"]) == (0.8, 0.1)
    assert found["decode.bound"] == "memory"
    assert judged.level({**tally, "present_us": 1_250_000}, PIPELINE)["decode.bound"] == "host"
    late = judged.level({**tally, "present_us": 625_000, "late_us": 300_000}, PIPELINE)
    assert (late["decode.late_share"], late["decode.bound"]) == (0.6, "host")
    assert [judged.level(tally, PIPELINE, front)["decode.bound"] for front in (0.9, 0.91)] == [
        judged.level(tally, PIPELINE)["decode.bound"],
        "host",
    ]


def test_an_engine_that_does_not_tell_its_work_has_none() -> None:
    tally = Counter[str]()
    counts.add(tally, 1, Counts(1, 1, 1, 1, 1, 1))
    assert judged.level(tally, {}) == {}
    assert judged.level({}, PIPELINE) == {}
