"""Closes on the time alone."""

import pytest
from sections import made

from mlsys.serving.batching import Close, Wait


def test_waits_out_the_window_even_when_full():
    time = made("batching/time", max_size=4, timeout_ms=20)
    assert time.decide(9, oldest=1.0, now=1.0) == Wait(pytest.approx(1.02))
    assert time.decide(9, oldest=1.0, now=1.02) == Close(4, "deadline")
    assert time.decide(2, oldest=1.0, now=1.5) == Close(2, "deadline")
