from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from mlsys.report import doubts
from mlsys.report.slow_replicas import outliers, warnings


def level(requests: int = 20, **p50_ms: float) -> dict[str, Any]:
    """Replicas with these medians and lower quartiles a tenth below them."""
    values: dict[str, Any] = {"throughput_rps": 10.0, "replica.x.gpu": "0"}
    for name, median in p50_ms.items():
        values |= {f"replica.{name}.requests": requests, f"replica.{name}.e2e_ms.p50": median}
        values[f"replica.{name}.e2e_ms.p25"] = 0.9 * median
    return values


def test_a_replica_twice_as_slow_as_the_others_is_an_outlier() -> None:
    assert outliers(level(a=100, b=110, c=1000)) == {"c": pytest.approx(1000 / 105)}
    assert outliers(level(a=100, b=300)) == {"b": pytest.approx(3.0)}


def test_what_is_no_outlier() -> None:
    assert outliers(level(a=100, b=110, c=200)) == {}
    assert outliers(level(requests=9, a=100, b=110, c=1000)) == {}
    assert outliers(level(a=100)) == outliers({}) == {}
    assert outliers({"replica.a.requests": 9, "replica.b.requests": "9", "replica.b.e2e_ms.p50": None}) == {}


def test_equal_replicas_with_widely_spread_latencies_are_none() -> None:
    random = np.random.default_rng(0)
    found = 0
    for _ in range(500):
        made: dict[str, Any] = {}
        for name in "abc":
            p25, p50 = np.percentile(random.exponential(100.0, 10), [25, 50])
            made |= {f"replica.{name}.requests": 10, f"replica.{name}.e2e_ms.p25": p25}
            made[f"replica.{name}.e2e_ms.p50"] = p50
        found += len(outliers(made))
    assert found <= 20  # of 500 levels; 1.8 % of more of them


def test_the_page_warns_once_of_a_replica_with_the_largest_ratio() -> None:
    assert warnings([level(a=100, b=100, c=500), level(a=100, b=100, c=900)]) == [
        "c takes 9 times as long as the other replicas"
    ]
    made = synthetic.serving()
    made.levels[0] |= level(a=100, b=100, c=500)
    assert "c takes 5 times as long as the other replicas" in "\n".join(doubts.warnings([(Path("/o"), made)]))
