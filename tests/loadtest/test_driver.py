"""The chain in virtual time: arrivals, phases, driver, statistics against what queueing theory knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import virtual_time
from sections import arrivals

from mlsys.loadtest.arrivals import ArrivalProcess
from mlsys.loadtest.driver import Driver
from mlsys.loadtest.phases import COOLDOWN, MEASURED, Phases
from mlsys.loadtest.questions import Order, Question
from mlsys.loadtest.rows import ABANDONED, OK, REJECTED, Row
from mlsys.loadtest.statistics import summarise

QUESTIONS = [Question(i, str(i), None) for i in range(7)]


class Service:
    """Stands in for the client: one server with a fixed service time and a FIFO queue of `places`."""

    def __init__(self, service_s: float, places: int | None = None, batch: int = 1) -> None:
        self.service_s, self.places, self.batch = service_s, places, batch
        self.waiting: list[asyncio.Future[int]] = []
        self.busy = False

    async def ask(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
        if self.places is not None and len(self.waiting) >= self.places:
            row.outcome, row.status, row.retry_after_s, row.done_s = REJECTED, 429, 0.5, clock()
            return
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        if not self.busy:
            self.busy = True
            self.worker = asyncio.create_task(self.work())
        row.batch_size = await future
        row.outcome, row.done_s, row.tokens, row.answer = OK, clock(), 32, question.text

    async def work(self) -> None:
        while self.waiting:
            taken, self.waiting = self.waiting[: self.batch], self.waiting[self.batch :]
            await asyncio.sleep(self.service_s)
            for future in taken:
                future.set_result(len(taken))
            await asyncio.sleep(0)
            await asyncio.sleep(
                0.001 if self.batch > 1 else 0
            )  # a linger, so that the answered can ask again
        self.busy = False


def run(
    service: Any, process: ArrivalProcess, warmup: int, requests: int, hang_up: bool = False
) -> tuple[list[Row], dict[str, Any]]:
    phases = Phases(warmup, requests, None, keep_load=not process.open_loop)
    work = Driver(service, lambda: None, hang_up).run(
        process, phases, Order(QUESTIONS, 0), lambda _: Row(0, 0)
    )
    level = virtual_time.run(work)
    return level.rows, dict(summarise([level.rows], limits={})[0])


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_poisson_load_on_a_fixed_service_time_is_an_m_d_1_queue(load: float) -> None:
    """Pollaczek–Khinchine: mean time in system = S + ρS / 2(1−ρ); Little: mean in flight = λ · that."""
    service_s = 0.02
    rate = load / service_s
    _, found = run(
        Service(service_s), arrivals("poisson", request_rate=rate).process(rate, seed=5), 500, 10_000
    )
    expected_ms = 1e3 * (service_s + load * service_s / (2 * (1 - load)))
    assert found["success_rate"] == 1
    assert found["e2e_ms.mean"] == pytest.approx(expected_ms, rel=0.08)
    assert found["throughput_rps"] == pytest.approx(rate, rel=0.03)
    assert found["in_flight.mean"] == pytest.approx(
        found["throughput_rps"] * found["e2e_ms.mean"] / 1e3, rel=0.01
    )


def test_a_closed_loop_on_a_serial_service_waits_for_everybody() -> None:
    rows, found = run(Service(0.5), arrivals("closed", concurrency=4).process(4, 0), warmup=4, requests=20)
    assert found["requests"] == 20
    assert found["throughput_rps"] == pytest.approx(2.0)
    assert [found["e2e_ms.p50"], found["e2e_ms.max"]] == pytest.approx([2000, 2000])
    assert found["in_flight.mean"] == pytest.approx(4)
    assert max(_in_flight(rows)) == 4


def test_a_closed_loop_on_a_batching_service_measures_whole_batches() -> None:
    _, found = run(
        Service(1.0, batch=8), arrivals("closed", concurrency=8).process(8, 0), warmup=8, requests=20
    )
    assert found["throughput_rps"] == pytest.approx(8 / 1.001, rel=1e-3)
    assert found["batch_size.max"] == 8


def test_cool_down_requests_are_hung_up_on_but_not_the_batch_mates_of_the_last_measured() -> None:
    rows, found = run(
        Service(1.0, batch=4), arrivals("closed", concurrency=8).process(8, 0), 8, 10, hang_up=True
    )
    assert {row.phase for row in rows if row.outcome == ABANDONED} == {COOLDOWN}
    assert sum(row.outcome == ABANDONED for row in rows) == 4
    assert max(row.done_s for row in rows) < max(row.done_s for row in rows if row.phase == MEASURED) + 0.25
    assert found["throughput_rps"] == pytest.approx(4 / 1.001, rel=1e-3)


def test_an_open_loop_does_not_wait_and_counts_from_the_intended_time() -> None:
    """Coordinated omission: the service stalls once for 10 s; requests due meanwhile waited for it."""

    class Stalling(Service):
        async def ask(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
            if row.id == 20:
                self.service_s = 10.0
            await super().ask(row, question, clock)
            self.service_s = 0.001

    rows, found = run(
        Stalling(0.001), arrivals("constant", request_rate=10).process(10, 0), warmup=0, requests=200
    )
    assert [row.intended_s for row in rows] == pytest.approx([i / 10 for i in range(200)])
    stalled = [row for row in rows if row.e2e_ms > 100]
    assert len(stalled) == pytest.approx(100, abs=2)
    assert found["e2e_ms.p90"] == pytest.approx(8000, rel=0.03)
    assert found["dispatch_delay_ms.max"] == pytest.approx(0, abs=1e-6)


def test_a_late_client_pays_for_its_lateness() -> None:
    class Blocking(Service):
        async def ask(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
            if row.id == 2:
                virtual_time.stall(5.0)
            row.outcome, row.done_s = OK, clock()

    rows, _ = run(Blocking(0), arrivals("constant", request_rate=1).process(1, 0), warmup=0, requests=10)
    assert [round(row.dispatch_delay_ms) for row in rows] == [0, 0, 0, 4000, 3000, 2000, 1000, 0, 0, 0]
    assert [round(row.e2e_ms) for row in rows] == [0, 0, 5000, 4000, 3000, 2000, 1000, 0, 0, 0]


def test_overload_is_rejected_and_the_latency_of_the_others_stays_bounded() -> None:
    _, found = run(
        Service(0.1, places=5),
        arrivals("poisson", request_rate=100).process(100, 1),
        warmup=50,
        requests=1000,
    )
    assert found["rejected"] == found["rejected_with_retry_after"] == pytest.approx(900, abs=20)
    assert found["succeeded"] + found["rejected"] == 1000
    assert found["throughput_rps"] == pytest.approx(10, rel=0.03)
    assert found["e2e_ms.max"] <= 600 + 1e-6


def test_a_rejected_client_of_a_closed_loop_comes_back_when_it_was_told_to() -> None:
    rows, found = run(
        Service(10.0, places=0), arrivals("closed", concurrency=1).process(1, 0), warmup=0, requests=4
    )
    assert [row.sent_s for row in rows] == pytest.approx([0, 0.5, 1.0, 1.5])
    assert (found["succeeded"], found["rejected"], found["throughput_rps"]) == (0, 4, 0)


def test_the_order_of_questions_does_not_depend_on_the_load() -> None:
    one, _ = run(Service(0.1), arrivals("closed", concurrency=1).process(1, 0), 2, 10)
    many, _ = run(Service(0.1), arrivals("closed", concurrency=5).process(5, 0), 2, 10)
    assert [row.question for row in one if row.phase == MEASURED] == [
        row.question for row in many if row.phase == MEASURED
    ]


def _in_flight(rows: list[Row]) -> list[int]:
    return [sum(other.sent_s <= row.sent_s < other.done_s for other in rows) for row in rows]
