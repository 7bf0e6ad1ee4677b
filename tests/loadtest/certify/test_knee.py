from __future__ import annotations

import pytest

from mlsys.loadtest.certify.knee import knee


def test_the_knee_of_one_exponential_worker_is_half_its_rate() -> None:
    points = [(rate, rate, 1 / (100 - rate)) for rate in range(5, 100, 5)]
    assert knee([(float(a), float(b), c) for a, b, c in points]) == pytest.approx(50)


def test_the_knee_of_a_closed_loop_is_where_clients_begin_to_wait() -> None:
    points = [(float(n), min(n / 0.1, 40.0), max(0.1, n / 40)) for n in range(1, 20)]
    assert knee(points) == 4


def test_no_answers_no_knee() -> None:
    assert knee([]) is None
    assert knee([(10.0, 0.0, 5.0)]) is None
