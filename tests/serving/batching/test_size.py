"""Closes on the number alone."""

import pytest

from mlsys.serving.batching import Close, Wait
from mlsys.serving.batching.size import Size


def test_waits_until_full():
    size = Size(max_size=4, max_wait_ms=1000)
    assert size.decide(3, oldest=2.0, now=2.5) == Wait(pytest.approx(3.0))
    assert size.decide(4, oldest=2.0, now=2.5) == Close(4, "full")
    assert size.decide(9, oldest=2.0, now=2.5) == Close(4, "full")


def test_nobody_hangs():
    assert Size(max_size=4, max_wait_ms=1000).decide(1, oldest=2.0, now=3.0) == Close(1, "deadline")
