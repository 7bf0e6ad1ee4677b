"""Closes on the number alone."""

import pytest
from sections import made
from simulation import waits_until

from mlsys.serving.batching import Close


def test_waits_until_full() -> None:
    size = made("batching/size", max_size=4, max_wait_ms=1000)
    assert waits_until(size.decide(3, oldest=2.0, now=2.5)) == pytest.approx(3.0)
    assert size.decide(4, oldest=2.0, now=2.5) == Close(4, "full")
    assert size.decide(9, oldest=2.0, now=2.5) == Close(4, "full")


def test_nobody_hangs() -> None:
    assert made("batching/size", max_size=4, max_wait_ms=1000).decide(1, oldest=2.0, now=3.0) == Close(
        1, "deadline"
    )
