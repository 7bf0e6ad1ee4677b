"""Time-stamps add up and deadlines are kept, on a clock of the test's own."""

import uuid

import pytest
from turned_clock import Clock

from mlsys.serving.request import Request
from mlsys.stages import STAGES


def test_timings_add_up_by_construction() -> None:
    clock = Clock(100.0)
    request = Request("q", 2, clock=clock)
    for number, part in enumerate(
        ["queue", "embed", "retrieve", "prompt", "queue", "generate", "respond"], 1
    ):
        clock.now += number / 1000
        request.mark(part)
    timings = request.timings_ms()
    assert timings == pytest.approx(
        {"queue": 6, "embed": 2, "retrieve": 3, "prompt": 4, "generate": 6, "respond": 7, "total": 28}
    )
    missing = ("rerank", "prefill", "decode")
    assert list(timings) == [*(stage for stage in STAGES if stage not in missing), "total"], (
        "which it has not"
    )


def test_deadline() -> None:
    clock = Clock(100.0)
    request = Request("q", 2, timeout_ms=500, clock=clock)
    before = request.expired
    assert not before
    assert request.remaining_s == pytest.approx(0.5)
    clock.now += 0.5
    assert request.expired
    assert request.remaining_s == 0
    assert Request("q", 2, clock=clock).remaining_s is None


def test_ids_are_uuids_and_differ() -> None:
    ids = {uuid.UUID(Request("q", 1).id) for _ in range(1000)}
    assert len(ids) == 1000
