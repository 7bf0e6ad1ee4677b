from __future__ import annotations

import heapq

import numpy as np
import pytest

from mlsys.theory.deterministic import Deterministic
from mlsys.theory.law import Unstable
from mlsys.theory.priorities import Class, waits_ms


def test_one_class_waits_as_in_a_line() -> None:
    assert waits_ms([Class(20.0, 22.0)]) == pytest.approx([Deterministic(20.0, 22.0).mean_ms - 22.0])


def test_the_waits_are_those_of_a_long_stream() -> None:
    random, count = np.random.default_rng(9), 60_000
    came = np.cumsum(random.exponential(1e3 / 35, count))
    urgent = random.random(count) < 0.4
    waits: tuple[list[float], list[float]] = ([], [])
    waiting: list[tuple[bool, int]] = []
    now, number = 0.0, 0
    while number < count or waiting:
        while number < count and came[number] <= now:
            heapq.heappush(waiting, (not urgent[number], number))
            number += 1
        if not waiting:
            now = came[number]
            continue
        low, chosen = heapq.heappop(waiting)
        waits[low].append(now - came[chosen])
        now += 22.0
    expected = waits_ms([Class(14.0, 22.0), Class(21.0, 22.0)])
    assert [np.mean(waits[0]), np.mean(waits[1])] == pytest.approx(expected, rel=0.05)


def test_the_work_that_waits_is_the_same_in_any_order() -> None:
    """Kleinrock's conservation law: Σ ρ_k·W_k does not depend on who goes first."""
    one, other = Class(10.0, 22.0), Class(5.0, 60.0, second_moment=7200.0)
    forth, back = waits_ms([one, other]), waits_ms([other, one])
    weigh = [one.utilisation, other.utilisation]
    assert np.dot(weigh, forth) == pytest.approx(np.dot(weigh, back[::-1]))


def test_classes_that_together_are_too_much_are_refused() -> None:
    with pytest.raises(Unstable):
        waits_ms([Class(30.0, 22.0), Class(30.0, 22.0)])
