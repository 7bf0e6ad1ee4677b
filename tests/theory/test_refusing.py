from __future__ import annotations

import numpy as np
import pytest

from mlsys.theory.deterministic import Deterministic
from mlsys.theory.law import Unstable
from mlsys.theory.refusing import Refusing


@pytest.mark.parametrize(("rate", "limit_ms"), [(20.0, 50.0), (40.0, 100.0), (44.0, 60.0)])
def test_who_is_let_in_and_how_long_they_take_as_in_a_long_stream(rate: float, limit_ms: float) -> None:
    law, random = Refusing(rate, 22.0, limit_ms), np.random.default_rng(4)
    free = now = 0.0
    latencies = []
    count = 100_000
    for gap in random.exponential(1e3 / rate, count).tolist():
        now += gap
        done = max(free, now) + 22.0
        if done - now <= limit_ms:
            free = done
            latencies.append(done - now)
    assert len(latencies) / count == pytest.approx(law.admitted, abs=0.006)
    assert np.mean(latencies) == pytest.approx(law.mean_ms, rel=0.01)
    for share in (0.5, 0.95):
        assert np.quantile(latencies, share) == pytest.approx(law.quantile_ms(share), rel=0.02)


def test_with_a_long_limit_it_is_the_line_without_a_door() -> None:
    assert Refusing(30.0, 22.0, 900.0).admitted == pytest.approx(1.0)
    assert Refusing(30.0, 22.0, 900.0).mean_ms == pytest.approx(Deterministic(30.0, 22.0).mean_ms, rel=1e-3)


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than a service"):
        Refusing(10.0, 22.0, 20.0)
    with pytest.raises(Unstable):
        Refusing(50.0, 22.0, 100.0)
