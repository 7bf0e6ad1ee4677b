"""The bound and the word on when to come back."""

import pytest

from mlsys.serving.admission import Admission
from mlsys.serving.request import Refused


def test_refuses_only_beyond_the_bound() -> None:
    admission = Admission(max_queue=2)
    admission.admit(0)
    admission.admit(1)
    with pytest.raises(Refused) as caught:
        admission.admit(2)
    assert caught.value.status == 429
    assert caught.value.message == "the queue is full: 2 of server.max_queue=2 requests wait"
    assert caught.value.retry_after_s == 1


def test_retry_after_is_the_time_the_line_takes() -> None:
    admission = Admission(max_queue=10, workers=2)
    admission.served(count=4, seconds=12.0)
    assert admission.seconds_per_request == pytest.approx(1.5)
    assert admission.retry_after_s(10) == 15
    assert admission.retry_after_s(3) == 5
    assert admission.retry_after_s(0) == 1


def test_the_estimate_follows() -> None:
    admission = Admission(max_queue=10)
    admission.served(1, 10.0)
    for _ in range(40):
        admission.served(1, 1.0)
    assert admission.seconds_per_request == pytest.approx(1.0, rel=0.01)


def test_a_batch_that_nobody_was_left_in_teaches_nothing() -> None:
    admission = Admission(max_queue=10)
    admission.served(0, 10.0)
    assert admission.seconds_per_request is None
