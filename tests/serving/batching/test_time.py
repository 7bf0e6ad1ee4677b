"""Closes on the time alone."""

import pytest
from sections import made
from simulation import waits_until

from mlsys.serving.batching import Close


def test_waits_out_the_window_even_when_full() -> None:
    time = made("batching/time", max_size=4, timeout_ms=20)
    assert waits_until(time.decide(9, oldest=1.0, now=1.0)) == pytest.approx(1.02)
    assert time.decide(9, oldest=1.0, now=1.02) == Close(4, "deadline")
    assert time.decide(2, oldest=1.0, now=1.5) == Close(2, "deadline")
