from __future__ import annotations

import pytest
from turned_clock import Clock

from mlsys.roofline.counts import PRESENT, WAITED
from mlsys.serving import decoders
from mlsys.serving.decoders import Decoders
from mlsys.serving.meters import Meters


def test_requests_are_there_from_the_first_that_comes_to_the_last_that_goes() -> None:
    clock = Clock(10.0)
    made = Decoders(Meters(), 2, clock)
    made.come()
    clock.now = 11.0
    made.come()
    made.go()
    clock.now = 13.0
    assert made.counts()[PRESENT] == 2 * 3_000_000, "two models, for three seconds so far"
    made.go()
    clock.now = 20.0
    assert made.counts()[PRESENT] == 2 * 3_000_000


def test_what_all_threads_waited_for_a_processor_counts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "waited_us", {7: 5, 8: 6}.get)
    made = Decoders(Meters(), 2, Clock())
    made.threads = [7, 8]
    assert made.counts()[WAITED] == 11
