from __future__ import annotations

import threading

from turned_clock import Clock

from mlsys.roofline.counts import PRESENT, WAITED
from mlsys.serving.decoders import Decoders
from mlsys.serving.meters import Meters


def test_requests_are_there_from_the_first_that_comes_to_the_last_that_goes() -> None:
    clock = Clock(10.0)
    decoders = Decoders(Meters(), 2, clock)
    decoders.come()
    clock.now = 11.0
    decoders.come()
    decoders.go()
    clock.now = 13.0
    assert decoders.counts()[PRESENT] == 2 * 3_000_000, "two models, for three seconds so far"
    decoders.go()
    clock.now = 20.0
    assert decoders.counts()[PRESENT] == 2 * 3_000_000


def test_what_a_thread_waited_for_a_processor_is_told_and_a_thread_that_is_gone_waits_no_more() -> None:
    decoders = Decoders(Meters(), 1, Clock())
    assert decoders.counts()[WAITED] == 0
    decoders.threads = [threading.get_native_id(), 2**30]
    assert decoders.counts()[WAITED] >= 0
