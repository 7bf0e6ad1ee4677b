"""A level beside theory: made-up levels whose service is what the form says, and some whose service is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scalars import number
from sections import section, simulated

from mlsys.loadtest.prediction import beside
from mlsys.record import Scalar
from mlsys.theory import replay
from mlsys.theory.cost import Cost
from mlsys.theory.law import Floats

ENGINE = {"base_ms": 21.0, "per_request_ms": 1.0, "per_token_ms": 0.0, "max_new_tokens": 1}
OWN_MS, AROUND_MS = 0.6, 2.0
COST = Cost(1.0, 21.0 + OWN_MS)
Serve = Callable[[Floats], tuple[Floats, list[int]]]


def line(arrivals: Floats) -> tuple[Floats, list[int]]:
    """One worker, first in, first out."""
    return replay.line(arrivals, np.full(len(arrivals), COST(1))), [1] * len(arrivals)


def take_all(arrivals: Floats) -> tuple[Floats, list[int]]:
    """One worker that takes all who wait."""
    return replay.batches(arrivals, COST)


def measured(rate: float, serve: Serve, count: int = 1_100) -> pd.DataFrame:
    """A level's rows as a client would have stamped them, a tenth of them warm-up."""
    arrivals = np.cumsum(np.random.default_rng(2).exponential(1e3 / rate, count))
    latencies, batches = serve(arrivals)
    sizes = np.repeat(batches, batches)
    work = COST.per_request_ms * sizes + COST.base_ms
    return pd.DataFrame({
        "repeat": 0,
        "phase": ["warmup"] * (count // 11) + ["measured"] * (count - count // 11),
        "outcome": "ok",
        "intended_s": arrivals / 1e3,
        "sent_s": arrivals / 1e3,
        "queue_ms": latencies - work,
        "embed_ms": OWN_MS,
        "retrieve_ms": 0.0,
        "prompt_ms": 0.0,
        "generate_ms": work - OWN_MS,
        "batch_size": sizes,
        "e2e_ms": latencies + AROUND_MS,
    })  # fmt: skip


def told(server: str, rate: float, rows: pd.DataFrame, /, **sections: dict[str, Any]) -> dict[str, Scalar]:
    plain = simulated(
        server, "poisson", generator=ENGINE, batching={"timeout_ms": 0.0, "linger_ms": 0.0, "max_size": 128}
    )
    for group, knobs in sections.items():
        plain[group].update(knobs)
    return beside(plain, {"offered_rate_rps": rate, "handover_ms.mean": 0.0}, rows)


@pytest.mark.parametrize(("server", "rate", "serve"), [("queue", 30.0, line), ("batch", 200.0, take_all)])
def test_a_service_that_does_what_the_form_says_is_where_it_says(
    server: str, rate: float, serve: Serve
) -> None:
    found = told(server, rate, measured(rate, serve))
    assert found["theory.holds"] is True
    for part in ("mean", "p50", "p95", "p99"):
        assert abs(number(found[f"theory.deviation.{part}"])) < 1e-6
    assert found["theory.own_ms"] == pytest.approx(OWN_MS + AROUND_MS)
    assert found["theory.unsteady_ms"] == pytest.approx(0.0, abs=1e-6)


def test_the_form_is_told_with_and_without_what_the_service_adds() -> None:
    found = told("queue", 30.0, measured(30.0, line))
    assert found["theory.model"] == "M/D/1"
    assert found["theory.mean_ms"] == pytest.approx(43.353, abs=0.001)
    assert found["theory.expected.mean_ms"] == pytest.approx(
        22.6 * (1 + 0.678 / 2 / 0.322) + AROUND_MS, abs=0.001
    )


def test_a_service_that_pauses_after_each_request_is_found_out() -> None:
    def pausing(arrivals: Floats) -> tuple[Floats, list[int]]:
        return replay.line(arrivals, np.full(len(arrivals), COST(1) + 2.0)) - 2.0, [1] * len(arrivals)

    found = told("queue", 30.0, measured(30.0, pausing))
    assert number(found["theory.deviation.mean"]) > 0.1
    assert number(found["theory.deviation.mean_low"]) > 0.02
    assert found["theory.holds"] is False


def test_a_batcher_that_leaves_somebody_behind_is_found_out() -> None:
    def small(arrivals: Floats) -> tuple[Floats, list[int]]:
        return replay.batches(arrivals, COST, max_batch=6)

    found = told("batch", 200.0, measured(200.0, small))
    assert number(found["theory.deviation.p95"]) > 0.05
    assert found["theory.holds"] is False


REPLICAS: dict[str, dict[str, Any]] = {
    "server": {"replica": "queue", "replicas": 2},
    "balancer": {"name": "least_in_flight"},
    "generator": {"distribution": "exponential"},
}
DOOR = section("batching/slo", max_size=1, base_ms=21.0, per_request_ms=1.0, limit_ms=100.0, margin_ms=0.0)


def balanced(choose: Callable[[Floats, Floats, list[int]], Floats]) -> pd.DataFrame:
    """A level at 60 requests/s before two replicas, whose services are drawn."""
    count = 1_100
    rows, random = measured(60.0, line, count), np.random.default_rng(5)
    services = random.exponential(COST(1) - OWN_MS, count) + OWN_MS
    replica = random.integers(2, size=count).tolist()
    latencies = choose(1e3 * rows["sent_s"].to_numpy(), services, replica)
    rows["replica"] = [f"replica-{number + 1}" for number in replica]
    rows["generate_ms"], rows["queue_ms"] = services - OWN_MS, latencies - services
    rows["e2e_ms"] = latencies + AROUND_MS
    return rows


def test_a_balancer_that_finds_the_shortest_line_is_where_the_form_says() -> None:
    rows = balanced(lambda came, services, replica: replay.shortest(came, services, 2, replica))
    found = told("lb", 60.0, rows, **REPLICAS)
    assert found["theory.model"] == "shortest of 2 among 2"
    assert abs(number(found["theory.luck_ms"])) > 0.1  # of a thousand services and arrivals
    assert abs(number(found["theory.deviation.mean"])) < 0.005
    assert found["theory.holds"] is True


def test_a_balancer_that_does_not_look_is_found_out() -> None:
    def blind(came: Floats, services: Floats, replica: list[int]) -> Floats:
        found = np.empty(len(came))
        for one in (0, 1):
            mine = np.array(replica) == one
            found[mine] = replay.line(came[mine], services[mine])
        return found

    found = told("lb", 60.0, balanced(blind), **REPLICAS)
    assert number(found["theory.deviation.mean_low"]) > 0.02
    assert found["theory.holds"] is False


def behind(limit_ms: float) -> pd.DataFrame:
    """A level at 40 requests/s behind a door with that limit."""

    def door(came: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        return replay.behind_a_door(came, np.full(len(came), COST(1)), 22.0, limit_ms)

    rows = measured(40.0, lambda came: (door(came)[0], [1] * len(came)))
    rows["outcome"] = np.where(door(1e3 * rows["sent_s"].to_numpy())[1], "ok", "rejected")
    return rows


def test_a_door_that_keeps_its_limit_is_where_the_form_says() -> None:
    found = told("batch", 40.0, behind(100.0), batching=DOOR)
    assert abs(number(found["theory.deviation.mean"])) < 0.01
    assert number(found["theory.measured.admitted"]) == pytest.approx(
        number(found["theory.expected.admitted"]), abs=0.02
    )


def test_a_door_with_another_limit_is_found_out() -> None:
    found = told("batch", 40.0, behind(160.0), batching=DOOR)
    assert number(found["theory.deviation.p95"]) > 0.05
    assert found["theory.holds"] is False


def test_a_machine_that_takes_longer_now_and_then_is_told_apart() -> None:
    def slow_at_times(arrivals: Floats) -> tuple[Floats, list[int]]:
        return replay.line(arrivals, services), [1] * len(arrivals)

    services = COST(1) * np.where(np.arange(1_100) % 50 == 0, 3.0, 1.0)
    rows = measured(20.0, slow_at_times)
    rows["queue_ms"] += rows["generate_ms"] + OWN_MS - services
    rows["generate_ms"] = services - OWN_MS
    found = told("queue", 20.0, rows)
    assert number(found["theory.unsteady_ms"]) > 0.4
    assert abs(number(found["theory.deviation.mean"])) < 0.02


def test_too_few_requests_for_a_percentile_give_none() -> None:
    found = told("queue", 20.0, measured(20.0, line, count=220))
    assert "theory.deviation.p95" in found
    assert "theory.deviation.p99" not in found


@pytest.mark.parametrize(
    ("server", "rate", "sections", "reason"),
    [
        ("queue", 60.0, {}, "the load is 1.32 of what can be served"),
        (
            "batch",
            200.0,
            {"batching": {"max_size": 4}},
            "batching.max_size=4 is smaller than some of the batches",
        ),
        ("batch", 200.0, {"batching": {"linger_ms": 25.0}}, "batching.linger_ms"),
        ("batch", 50.0, {"generator": {"distribution": "exponential"}}, "generator.distribution=exponential"),
        ("queue", 20.0, {"loadtest": {"output_tokens": 8}}, "answers of one length"),
        ("queue", 20.0, {"loadtest": {"name": "burst"}}, "loadtest=burst"),
    ],
)
def test_where_no_form_is_known_the_record_says_why(
    server: str, rate: float, sections: dict[str, dict[str, Any]], reason: str
) -> None:
    found = told(server, rate, measured(20.0, line), **sections)
    assert found["theory.model"] is None
    assert reason in str(found["theory.reason"])


def test_a_closed_loop_tells_its_throughput() -> None:
    plain = simulated("batch", generator=ENGINE, batching={"max_size": 32})
    rows = measured(20.0, line)
    rows["batch_size"], rows["generate_ms"], rows["queue_ms"] = 5, 26.0, 0.0
    rows.loc[rows.index % 5 == 0, "queue_ms"] = 0.25  # of the last to ask
    rows.loc[rows.index % 5 != 0, "queue_ms"] = 0.5
    rows["e2e_ms"] = rows["queue_ms"] + 26.0 + OWN_MS + AROUND_MS
    found = beside(plain, {"concurrency": 5}, rows)
    assert found["theory.model"] == "closed loop"
    assert found["theory.throughput_rps"] == pytest.approx(5e3 / 26)
    assert found["theory.own_pickup_ms"] == pytest.approx(0.25)
    assert found["theory.deviation.mean"] == pytest.approx(0.2 / 28.85)  # that the others wait for the last
