"""The line in an event loop, its pipeline under the test's control: places, cancellation, deadlines."""

import asyncio
import json
from typing import Any

import pytest
from sections import made
from serving_doubles import FakePipeline, Gate, eventually

from mlsys.serving.batching import Policy
from mlsys.serving.batching.single import Single
from mlsys.serving.modes.baseline import Contended
from mlsys.serving.request import Expired, Failed, Refused, Request, Unavailable
from mlsys.serving.scheduler import Scheduler
from mlsys.serving.worker import Worker

MODES = ["baseline", "queue", "batch"]
STAGES = ("embed", "retrieve", "prompt", "generate")


def make(
    mode: str, pipeline: FakePipeline, max_queue: int = 64, policy: Policy | None = None
) -> Scheduler | Contended:
    if mode == "baseline":
        return Contended(made("server/baseline", max_queue=max_queue), pipeline)
    if mode == "queue":
        return Scheduler(made("server/queue", max_queue=max_queue), [pipeline], Single())
    return Scheduler(
        made("server/batch", max_queue=max_queue), [pipeline], policy or made("batching/hybrid", max_size=8)
    )


class Started:
    """The line, ready; the probe's calls are forgotten."""

    def __init__(self, mode: str, pipeline: FakePipeline, **knobs: Any) -> None:
        self.line, self.pipeline = make(mode, pipeline, **knobs), pipeline

    async def __aenter__(self) -> Scheduler | Contended:
        await self.line.start()
        self.pipeline.calls.clear()
        return self.line

    async def __aexit__(self, *_: object) -> None:
        for hook in self.pipeline.hooks.values():
            assert isinstance(hook, Gate)
            hook.opened.set()
        await self.line.close(drained=True)


def gated() -> tuple[FakePipeline, Gate]:
    pipeline, gate = FakePipeline(), Gate()
    return pipeline, gate


async def ask(line: Scheduler | Contended, query: str, **knobs: Any) -> dict[str, Any]:
    answered: dict[str, Any] = json.loads((await line.answer(Request(query, 2, **knobs))).body)
    return answered


@pytest.mark.parametrize("mode", MODES)
async def test_everybody_gets_their_own_answer(mode: str) -> None:
    async with Started(mode, FakePipeline()) as line:
        answers = await asyncio.gather(*(ask(line, f"q{number}") for number in range(30)))
        assert [answer["result"] for answer in answers] == [f"answer to q{number}" for number in range(30)]
        for answer in answers:
            *parts, total = answer["timings_ms"].values()
            assert sum(parts) == pytest.approx(total, abs=0.01)
            assert len(answer["passages"]) == 2
        assert line.queued() == 0
        await eventually(lambda: sum(size * count for size, count in line.meters.sizes.items()) == 30)
        assert line.running == 0
        assert (await line.stats())["pipeline"]["generator.name"] == "fake"


@pytest.mark.parametrize("mode", ["baseline", "queue"])
async def test_one_at_a_time_without_batching(mode: str) -> None:
    pipeline = FakePipeline()
    async with Started(mode, pipeline) as line:
        await asyncio.gather(*(ask(line, f"q{number}") for number in range(10)))
        assert [len(batch) for batch in pipeline.batches()] == [1] * 10


async def test_the_queue_is_first_in_first_out() -> None:
    pipeline = FakePipeline()
    async with Started("queue", pipeline) as line:
        await asyncio.gather(*(ask(line, f"q{number}") for number in range(20)))
        assert [query for batch in pipeline.batches() for query in batch] == [f"q{n}" for n in range(20)]


async def test_what_waits_while_the_worker_is_busy_goes_together() -> None:
    pipeline, gate = gated()
    async with Started("batch", pipeline) as line:
        pipeline.hooks["generate"] = gate
        asks = [asyncio.create_task(ask(line, "first"))]
        await gate.reached()
        asks += [asyncio.create_task(ask(line, f"q{number}")) for number in range(12)]
        await eventually(lambda: line.queued() == 12)
        gate.opened.set()
        answers = await asyncio.gather(*asks)
        assert pipeline.batches() == [["first"], [f"q{n}" for n in range(8)], [f"q{n}" for n in range(8, 12)]]
        assert answers[1]["batch_size"] == 8
        await eventually(lambda: line.meters.closed["full"] == 1)


async def test_a_budget_sends_the_rest_to_the_front() -> None:
    pipeline, gate = gated()
    async with Started(
        "batch", pipeline, policy=made("batching/hybrid", max_size=8, max_padded_tokens=20)
    ) as line:
        pipeline.hooks["generate"] = gate
        asks = [asyncio.create_task(ask(line, "first"))]
        await gate.reached()
        queries = ["a" * 10, "b" * 10, "c" * 10, "d" * 99, "e" * 5]
        asks += [asyncio.create_task(ask(line, query)) for query in queries]
        await eventually(lambda: line.queued() == 5)
        gate.opened.set()
        await asyncio.gather(*asks)
        assert pipeline.batches()[1:] == [queries[:2], [queries[2]], [queries[3]], [queries[4]]]
        assert pipeline.batches("embed")[1:] == [queries], "all were embedded together, once"
        await eventually(lambda: line.meters.closed["budget"] == 3)


class Told(Single):
    """Keeps what the workers report."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def answered(self, count: int, now: float) -> None:
        self.counts.append(count)


async def test_each_of_several_workers_reports_its_own_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Told()
    line = Scheduler(made("server/queue", workers=2), [FakePipeline(), FakePipeline()], policy)
    await line.start()
    await eventually(lambda: policy.counts == [1])
    gates = [hold_after_answering(engine, monkeypatch) for engine in line.workers]
    try:
        answers = [asyncio.create_task(ask(line, query)) for query in ("one", "two")]
        await asyncio.gather(*answers, *(gate.reached() for gate in gates))
        assert policy.counts == [1], "both have answered, neither is free"
        gates[0].opened.set()
        await eventually(lambda: len(policy.counts) == 2)
        gates[1].opened.set()
        await eventually(lambda: len(policy.counts) == 3)
        assert policy.counts == [1, 1, 1]
    finally:
        for gate in gates:
            gate.opened.set()
        await line.close(drained=True)


def hold_after_answering(engine: Worker, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The engine's thread waits at the gate between its answers and its return."""
    gate, run = Gate(), engine.run

    def held(*batch: Any) -> list[Request]:
        later = run(*batch)
        gate([])
        return later

    monkeypatch.setattr(engine, "run", held)
    return gate


@pytest.mark.parametrize("mode", MODES)
async def test_a_full_queue_refuses_before_any_work_and_says_when(mode: str) -> None:
    pipeline, gate = gated()
    async with Started(mode, pipeline, max_queue=4) as line:
        pipeline.hooks["embed"] = gate
        asks = [asyncio.create_task(ask(line, "first"))]
        await gate.reached()
        line.admission.seconds_per_request = 2.0
        asks += [asyncio.create_task(ask(line, f"q{number}")) for number in range(4)]
        await eventually(lambda: line.queued() == 4)
        for _ in range(40):
            with pytest.raises(Refused) as caught:
                await ask(line, "too many")
        assert caught.value.retry_after_s == 8
        gate.opened.set()
        await asyncio.gather(*asks)
        assert all("too many" not in queries for _, queries in pipeline.calls)
        assert line.queued() == 0


@pytest.mark.parametrize("mode", MODES)
async def test_leaving_frees_the_place_at_once_and_kills_no_loop(mode: str) -> None:
    pipeline, gate = gated()
    async with Started(mode, pipeline) as line:
        pipeline.hooks["embed"] = gate
        running = asyncio.create_task(ask(line, "running"))
        await gate.reached()
        stays, leaves = asyncio.create_task(ask(line, "stays")), asyncio.create_task(ask(line, "leaves"))
        await eventually(lambda: line.queued() == 2)
        leaves.cancel()
        running.cancel()
        await asyncio.gather(leaves, running, return_exceptions=True)
        assert len(line.waiting) == 1
        gate.opened.set()
        assert (await stays)["result"] == "answer to stays"
        assert (await ask(line, "later"))["result"] == "answer to later"
        assert pipeline.batches() == [["stays"], ["later"]], "nobody generates for who has left"
        await eventually(lambda: line.running == 0 and not line.waiting)


@pytest.mark.parametrize("mode", MODES)
async def test_a_deadline_passes_in_the_queue(mode: str) -> None:
    pipeline, gate = gated()
    async with Started(mode, pipeline) as line:
        pipeline.hooks["embed"] = gate
        running = asyncio.create_task(ask(line, "running"))
        await gate.reached()
        with pytest.raises(Expired, match="the deadline"):
            await ask(line, "hurried", timeout_ms=20)
        assert line.queued() == 0
        gate.opened.set()
        await running
        assert all("hurried" not in queries for _, queries in pipeline.calls)


@pytest.mark.parametrize("mode", MODES)
async def test_a_failing_request_fails_alone_and_the_line_goes_on(mode: str) -> None:
    async with Started(mode, FakePipeline()) as line:
        asks = [ask(line, query) for query in ("a", "fail embed", "b", "fail generate", "c")]
        first, *others = await asyncio.gather(*asks, return_exceptions=True)
        assert isinstance(first, dict)
        assert first["result"] == "answer to a"
        assert [type(other) for other in others] == [Failed, dict, Failed, dict]
        assert (await ask(line, "d"))["result"] == "answer to d"


async def test_an_error_in_the_machinery_fails_the_batch_not_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = made("batching/hybrid", max_size=8)
    async with Started("batch", FakePipeline(), policy=policy) as line:
        with monkeypatch.context() as broken:
            broken.setattr(policy, "cut", lambda tokens: 1 // 0)
            with pytest.raises(Failed, match="the worker failed: ZeroDivisionError"):
                await ask(line, "a")
        assert (await ask(line, "b"))["result"] == "answer to b"
        await eventually(lambda: line.running == 0)


async def test_two_workers_share_one_line() -> None:
    gates, pipelines = [Gate(), Gate()], [FakePipeline(), FakePipeline()]
    line = Scheduler(made("server/queue", workers=2), [*pipelines], Single())
    await line.start()
    for pipeline, gate in zip(pipelines, gates, strict=True):
        pipeline.hooks["embed"] = gate
        pipeline.calls.clear()
    asks = [asyncio.create_task(ask(line, f"q{number}")) for number in range(6)]
    for gate in gates:
        await gate.reached()
    assert line.running == 2
    assert line.queued() == 4
    for gate in gates:
        gate.opened.set()
    assert [answer["result"] for answer in await asyncio.gather(*asks)] == [
        f"answer to q{n}" for n in range(6)
    ]
    assert all(pipeline.batches() for pipeline in pipelines)
    await line.close(drained=True)


async def test_not_ready_before_the_start_nor_while_draining() -> None:
    line = make("batch", FakePipeline())
    with pytest.raises(Unavailable, match="the service is loading"):
        await ask(line, "early")
    await line.start()
    assert line.state() == "ready"
    line.drain()
    with pytest.raises(Unavailable, match="the service is draining"):
        await ask(line, "late")
    await line.close(drained=True)


async def test_a_stalled_engine_makes_the_line_unready() -> None:
    pipeline, gate = gated()
    line = Scheduler(made("server/batch", stall_timeout_s=0.01), [pipeline], made("batching/hybrid"))
    await line.start()
    pipeline.hooks["embed"] = gate
    running = asyncio.create_task(ask(line, "running"))
    await eventually(lambda: line.state() == "stalled")
    gate.opened.set()
    await running
    await eventually(lambda: line.state() == "ready")
    assert line.state() == "ready"
    await line.close(drained=True)


async def test_the_event_loop_is_free_while_the_pipeline_works() -> None:
    pipeline, gate = gated()
    async with Started("batch", pipeline) as line:
        pipeline.hooks["generate"] = gate
        running = asyncio.create_task(ask(line, "running"))
        await gate.reached()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not running.done()
        gate.opened.set()
        await running


async def test_a_cycle_leads_from_batch_to_batch_while_requests_wait() -> None:
    pipeline, gate = gated()
    async with Started("queue", pipeline) as line:
        await eventually(
            lambda: line.running == 0
        )  # the probe is answered a moment before its batch has ended
        await ask(line, "alone")
        await eventually(lambda: line.running == 0)
        pipeline.hooks["embed"] = gate
        asks = [asyncio.create_task(ask(line, f"q{number}")) for number in range(4)]
        await gate.reached()
        await eventually(lambda: line.queued() == 3)
        gate.opened.set()
        answers = await asyncio.gather(*asks)
        found = (await line.stats())["cycles"]
    assert found["count"] == 3
    served_ms = sum(sum(answer["timings_ms"][stage] for stage in STAGES) for answer in answers[:3])
    assert found["total_us"] / 1e3 >= served_ms - 0.01
