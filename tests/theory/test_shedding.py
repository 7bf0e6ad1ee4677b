from __future__ import annotations

import numpy as np
import pytest

from mlsys.theory.shedding import Shedding


@pytest.mark.parametrize("rate", [30.0, 50.0, 80.0])
def test_who_leaves_and_who_is_late_as_in_a_long_stream(rate: float) -> None:
    random, law = np.random.default_rng(10), Shedding(rate, 20.0, 60.0)
    free = now = 0.0
    left = late = 0
    count = 200_000
    gaps, works = random.exponential(1e3 / rate, count), random.exponential(20.0, count)
    for gap, work in zip(gaps.tolist(), works.tolist(), strict=True):
        now += gap
        wait = max(0.0, free - now)
        if wait >= 60.0:
            left += 1
            continue
        free = max(free, now) + work
        late += wait + work > 60.0
    assert left / count == pytest.approx(law.left, abs=0.005)
    assert late / count == pytest.approx(law.late, abs=0.005)
    assert law.in_time == pytest.approx(1 - law.left - law.late)


def test_with_endless_patience_nobody_leaves_and_the_worker_idles_as_in_a_line() -> None:
    law = Shedding(30.0, 20.0, 5000.0)
    assert law.left == pytest.approx(0.0, abs=1e-12)
    assert law.idle == pytest.approx(0.4)
