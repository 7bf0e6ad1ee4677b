"""The classes of real time in virtual time: driver, arrivals, scheduler, worker, policies and engine against theory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scalars import number
from sections import arrivals, made

from mlsys.loadtest.driver import Driver
from mlsys.loadtest.phases import Phases
from mlsys.loadtest.questions import Order, Question
from mlsys.loadtest.rows import OK, Row
from mlsys.loadtest.statistics import summarise
from mlsys.record import Scalar
from mlsys.serving.batching.single import Single
from mlsys.serving.scheduler import Scheduler
from mlsys.theory import replay
from mlsys.theory.batch_service import Batches
from mlsys.theory.cost import Cost
from mlsys.theory.deterministic import Deterministic
from mlsys.theory.refusing import Refusing
from mlsys.virtual import loop as virtual
from mlsys.virtual.cost import Overheads
from mlsys.virtual.pipeline import Bare, Library
from mlsys.virtual.transport import InProcess

COST = Cost(1.0, 21.0)
ENGINE = {"base_ms": 21.0, "per_request_ms": 1.0, "per_token_ms": 0.0, "max_new_tokens": 1}
QUESTIONS = [Question(number, f"question {number}?", None) for number in range(50)]


def measure(
    mode: str,
    load: Any,
    requests: int,
    policy: dict[str, Any] | None = None,
    kind: str = "hybrid",
    **server: Any,
) -> tuple[list[Row], dict[str, Scalar]]:
    """A level in virtual time: the rows of all requests and the level's figures."""
    (level,) = load.levels

    async def work(loop: virtual.VirtualLoop) -> list[Row]:
        workers = server.get("workers", 1)
        pipelines = [
            Bare(
                made("generator/simulated", **ENGINE, sleep=loop.sleep, clock=loop.time),
                Library(QUESTIONS),
                Overheads(),
                loop.sleep,
            )
            for _ in range(workers)
        ]
        batching = Single() if mode == "queue" else made(f"batching/{kind}", **(policy or {}))
        service = Scheduler(made(f"server/{mode}", **server), list(pipelines), batching, loop.time)
        await service.start()
        client = InProcess(service, loop.time, k=1, timeout_s=100.0)
        process = load.process(level, 7)
        phases = Phases(100, requests, None, keep_load=not process.open_loop)
        done = await Driver(client, lambda: None).run(
            process, phases, Order(QUESTIONS, 0), lambda _: Row(0, 0)
        )
        await service.close(drained=True)
        return done.rows

    rows = virtual.run(work)
    return rows, dict(summarise([rows], {})[0])


def latencies(rows: list[Row]) -> list[float]:
    assert {row.outcome for row in rows} == {OK}
    return [row.e2e_ms for row in rows]


def times(rows: list[Row]) -> list[float]:
    return [1e3 * row.intended_s for row in rows]


@pytest.mark.parametrize("rate", [20.0, 40.0])
def test_a_queue_gives_each_request_what_lindley_says(rate: float) -> None:
    rows, values = measure("queue", arrivals("poisson", request_rate=rate), 1_500)
    assert latencies(rows) == pytest.approx(replay.line(times(rows), [22.0] * len(rows)), abs=1e-5)
    if rate == 20.0:
        assert number(values["e2e_ms.mean"]) == pytest.approx(Deterministic(rate, 22.0).mean_ms, rel=0.08)
    assert values["littles_law.ratio"] == pytest.approx(1.0, abs=0.02)


def test_two_workers_share_one_line() -> None:
    rows, _ = measure("queue", arrivals("poisson", request_rate=70.0), 800, workers=2)
    assert latencies(rows) == pytest.approx(replay.line(times(rows), [22.0] * len(rows), 2), abs=1e-5)


@pytest.mark.parametrize(("timeout_ms", "rate"), [(0.0, 100.0), (0.0, 400.0), (30.0, 100.0)])
def test_batches_are_those_of_the_model(timeout_ms: float, rate: float) -> None:
    policy = {"timeout_ms": timeout_ms, "linger_ms": 0.0, "max_size": 500}
    rows, values = measure("batch", arrivals("poisson", request_rate=rate), 2_500, policy)
    expected, sizes = replay.batches(times(rows), COST, None, timeout_ms)
    assert latencies(rows) == pytest.approx(expected, abs=1e-5)
    assert [row.batch_size for row in rows] == np.repeat(sizes, sizes).tolist()
    law = Batches(rate, COST, timeout_ms)
    assert number(values["e2e_ms.mean"]) == pytest.approx(law.mean_ms, rel=0.04)
    assert number(values["e2e_ms.p95"]) == pytest.approx(law.quantile_ms(0.95), rel=0.05)


def test_a_closed_loop_has_all_clients_in_one_batch() -> None:
    policy = {"linger_ms": 5.0}
    _, values = measure("batch", arrivals("closed", concurrency=20), 500, policy)
    assert values["throughput_rps"] == pytest.approx(20e3 / 41, rel=1e-3)
    assert values["batch_size.mean"] == pytest.approx(20)


def test_a_full_queue_turns_requests_away_as_over_http() -> None:
    rows, values = measure("queue", arrivals("poisson", request_rate=100.0), 500, max_queue=4)
    assert number(values["rejected"]) > 200
    assert {row.status for row in rows} == {200, 429}
    assert number(values["e2e_ms.max"]) <= 5 * 22.0 + 1e-6
    assert values["rejected_with_retry_after"] == values["rejected"]


def test_a_limit_is_kept_for_those_let_in_and_the_others_are_refused_at_the_door() -> None:
    """800 a second, where the limit allows 580: the cost is learned from the batches themselves."""
    policy = {"limit_ms": 100.0, "margin_ms": 2.0}
    rows, values = measure("batch", arrivals("poisson", request_rate=800.0), 3_000, policy, kind="slo")
    assert {row.status for row in rows} == {200, 429}
    assert number(values["e2e_ms.max"]) <= 100.0
    assert number(values["throughput_rps"]) == pytest.approx(580, rel=0.06)


def test_one_by_one_behind_a_door_as_theory_has_it() -> None:
    """Beyond what a service does of its own: as many are let in, and take as long, as of M/D/1 with a bounded wait."""
    policy = {"limit_ms": 80.0, "margin_ms": 1e-6, "max_size": 1, "base_ms": 21.0, "per_request_ms": 1.0}
    _, values = measure("batch", arrivals("poisson", request_rate=40.0), 3_000, policy, kind="slo")
    law = Refusing(40.0, 22.0, 80.0)
    assert number(values["success_rate"]) == pytest.approx(law.admitted, abs=0.02)
    assert number(values["e2e_ms.mean"]) == pytest.approx(law.mean_ms, rel=0.04)
    assert number(values["e2e_ms.p95"]) == pytest.approx(law.quantile_ms(0.95), rel=0.04)


def test_one_seed_gives_one_run() -> None:
    first, second = (measure("batch", arrivals("poisson", request_rate=150.0), 500)[0] for _ in range(2))
    assert [(row.id, row.done_s, row.batch_size) for row in first] == [
        (row.id, row.done_s, row.batch_size) for row in second
    ]
