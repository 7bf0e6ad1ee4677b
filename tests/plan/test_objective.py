from __future__ import annotations

import pytest

from mlsys.errors import UserError
from mlsys.plan.objective import Objective, Price


@pytest.mark.parametrize(
    ("words", "figure", "limit_ms"),
    [("p95<2000", "p95", 2000.0), ("p99 <= 1.5s", "p99", 1500.0), ("p50<80ms", "p50", 80.0)],
)
def test_a_limit_is_read_as_typed(words: str, figure: str, limit_ms: float) -> None:
    assert Objective.read(words) == Objective(figure, limit_ms)


@pytest.mark.parametrize(
    "words", ["p95", "p95>2000", "mean<5", "p97<100", "p95<0", "p95<-1", "p95<2000min", ""]
)
def test_what_is_no_limit_is_one_line_with_the_option_and_the_value(words: str) -> None:
    with pytest.raises(UserError, match="--slo="):
        Objective.read(words)


def test_a_price_is_of_each_replica_and_hour() -> None:
    price = Price.read("gpu=2.5/h")
    assert (price.of(3), price.told(3)) == (7.5, "7.5/h (3 × gpu)")
    assert (Price().of(2), Price().told(1), Price().told(2)) == (2.0, "1 replica", "2 replicas")


@pytest.mark.parametrize("words", ["2.5", "gpu=", "gpu=-1/h", "gpu=0/h", "gpu=2.5/min"])
def test_what_is_no_price_is_one_line(words: str) -> None:
    with pytest.raises(UserError, match="--cost="):
        Price.read(words)


def test_a_rarer_percentile_takes_more_requests() -> None:
    assert Objective("p50", 1.0).needs == 2_000
    assert Objective("p99", 1.0).needs == 5_000
