"""The service in an event loop: streams, places, errors, deadlines; its engine is the simulated one."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sections import made, section
from serving_doubles import FakePipeline, eventually
from steps import answer, policy

from mlsys.rag.generator.simulated import Simulated
from mlsys.rag.generator.simulated_stepper import SimulatedStepper
from mlsys.rag.generator.simulated_text import spell
from mlsys.rag.generator.stepping import Launched, Step
from mlsys.rag.item import Item
from mlsys.serving.continuous.service import Continuous
from mlsys.serving.request import Expired, Failed, Refused, Request, Wish
from mlsys.serving.stream import Piece, Stream

FAILS = 13  # a token that the engine cannot read


class Touchy(SimulatedStepper):
    """An engine that raises on one token."""

    def launch(self, step: Step) -> Launched:
        if any(FAILS in read.ids for read in step.reads):
            raise RuntimeError("the engine cannot read this")
        return super().launch(step)


class Generator(Simulated):
    """`slots` and the engine are the test's."""

    def stepper(
        self, slots: int | None, kv_memory: int | None, prefix_share: float, longest: int
    ) -> SimulatedStepper:
        found = super().stepper(slots, kv_memory, prefix_share, longest)
        return Touchy(found._costs, found._sizes, found._sleep, found._clock)


def tokens(query: str) -> list[int]:
    return [ord(letter) for letter in query]


def prompt(items: list[Item]) -> None:
    for item in items:
        item.prompt_ids = tokens(item.query)


@asynccontextmanager
async def running(
    slots: int = 8,
    tokens: int = 6,
    token_ms: float = 0.0,
    name: str = "fcfs",
    sleep: Callable[[float], None] = time.sleep,
    **knobs: Any,
) -> AsyncIterator[Continuous]:
    pipeline = FakePipeline(prompt=prompt)
    knobs_ms = {"base_ms": 0.0, "per_request_ms": 0.0, "per_token_ms": token_ms}
    said = section("generator/simulated", max_new_tokens=tokens, max_prompt_tokens=64, **knobs_ms)
    pipeline.generator = Generator(
        **{knob: value for knob, value in said.items() if not knob.startswith("_")}, sleep=sleep
    )
    service = Continuous(made("server/continuous", **knobs), pipeline, policy(name, slots=slots))
    await service.start()
    try:
        yield service
    finally:
        await service.close(drained=True)


async def ask(service: Continuous, query: str, wish: Wish | None = None, **knobs: Any) -> dict[str, Any]:
    request = Request(query, 2, wish=wish or Wish(), **knobs)
    content: dict[str, Any] = json.loads((await service.answer(request)).body)
    return content


async def test_everybody_gets_their_own_answer_and_its_stages_add_up() -> None:
    async with running(slots=3) as service:
        answers = await asyncio.gather(*(ask(service, f"q{number}") for number in range(20)))
    for number, found in enumerate(answers):
        assert found["result"] == spell(answer(tokens(f"q{number}"), 6))
        assert found["tokens"] == 6
        assert 1 <= found["batch_size"] <= 3
        *parts, total = found["timings_ms"].values()
        assert sum(parts) == pytest.approx(total, abs=0.01)
        assert list(found["timings_ms"]) == [
            *("queue", "embed", "retrieve", "prompt", "prefill", "decode", "respond"), "total",
        ]  # fmt: skip


async def test_a_stream_has_the_passages_then_the_text_as_it_is_written() -> None:
    """Each token waits until what came before it has been read: who is slow gets several in one piece."""
    begun, read = threading.Event(), threading.Semaphore(0)

    def until_read(_: float) -> None:
        if begun.is_set():  # the service has asked itself
            read.acquire()

    async def events(stream: Stream) -> list[Any]:
        found = []
        async for event in stream.events():
            found.append(event)
            read.release()
        return found

    async with running(token_ms=1e6, sleep=until_read) as service:
        begun.set()
        stream = Stream()
        request = Request("hello", 2, stream=stream)
        reading = asyncio.create_task(events(stream))
        await service.answer(request)
        stream.end()
        passages, *pieces = await reading
    assert [hit.text for hit in passages] == ["passage 0", "passage 1"]
    assert all(isinstance(piece, Piece) for piece in pieces)
    assert "".join(piece.text for piece in pieces) == request.item.result == spell(answer(tokens("hello"), 6))
    assert sum(piece.tokens for piece in pieces) == request.item.tokens == 6
    assert len(pieces) == 6, "each when it was written"
    assert request.item.finish == "length"


async def test_a_stop_text_ends_the_answer_and_frees_its_place() -> None:
    words = spell(answer(tokens("hello"), 40)).split()
    async with running(tokens=40) as service:
        found = await ask(service, "hello", Wish(stop=(f" {words[3]} {words[4]}",)))
        await eventually(lambda: service.in_workers() == 0)
    assert found["result"] == " ".join(words[:3])
    assert found["tokens"] == 5


async def test_an_answer_is_as_long_as_wished_and_no_longer_than_the_service_allows() -> None:
    async with running(tokens=6, max_tokens=9) as service:
        lengths = [
            (await ask(service, "q", Wish(max_tokens=wished)))["tokens"] for wished in (None, 2, 9, 50)
        ]
    assert lengths == [6, 2, 9, 9]


async def test_a_client_that_leaves_frees_its_place() -> None:
    async with running(slots=1, tokens=10_000, token_ms=1.0) as service:
        long = asyncio.create_task(ask(service, "long"))
        await eventually(lambda: service.in_workers() == 1)
        short = asyncio.create_task(ask(service, "short", Wish(max_tokens=2)))
        await eventually(lambda: service.queued() == 1)
        long.cancel()
        assert (await short)["tokens"] == 2
        assert (service.queued(), service.in_workers(), len(service.answering)) == (0, 0, 0)


async def test_prompts_wait_for_each_other_where_many_answers_are_written_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlsys.serving.continuous.service.MANY", 1)
    monkeypatch.setattr("mlsys.serving.continuous.service.GATHERING_S", 0.2)
    async with running(tokens=10_000, token_ms=1.0) as service:
        pipeline: Any = service.workers[0].pipeline
        assert service._gathering_s() == 0
        pipeline.device = "cuda"
        long = asyncio.create_task(ask(service, "long"))
        await eventually(lambda: service.in_workers() == 1)
        assert service._gathering_s() == 0.2
        one = asyncio.create_task(ask(service, "one", Wish(max_tokens=2)))
        await eventually(lambda: len(service.arriving) == 1)
        await asyncio.gather(one, ask(service, "two", Wish(max_tokens=2)))
        long.cancel()
    assert pipeline.batches("prompt")[-2:] == [["long"], ["one", "two"]]


async def test_what_the_engine_cannot_read_fails_alone() -> None:
    async with running() as service:
        asked = [ask(service, f"q{number}") for number in range(4)] + [ask(service, f"q{chr(FAILS)}")]
        *good, bad = await asyncio.gather(*asked, return_exceptions=True)
        assert (await ask(service, "later"))["tokens"] == 6
    for number, found in enumerate(good):
        assert isinstance(found, dict)
        assert found["result"] == spell(answer(tokens(f"q{number}"), 6))
    assert isinstance(bad, Failed)
    assert bad.message == "the engine's step failed: RuntimeError: the engine cannot read this"


async def test_a_deadline_ends_an_answer_that_is_being_written() -> None:
    async with running(tokens=10_000, token_ms=1.0) as service:
        with pytest.raises(Expired):
            await ask(service, "q", timeout_ms=50)
        await eventually(lambda: service.in_workers() == 0)


async def test_with_the_deadline_policy_a_hopeless_request_is_refused_at_once() -> None:
    async with running(tokens=10_000, token_ms=5.0, name="deadline") as service:
        busy = asyncio.create_task(ask(service, "busy"))
        await eventually(lambda: service.token_meters.steps["count"] > 3)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(Expired, match="would pass before the answer is ready"):
            await ask(service, "q", timeout_ms=20_000)
        assert loop.time() - began < 10
        busy.cancel()


async def test_the_line_is_bounded_and_drains() -> None:
    async with running(slots=1, tokens=10_000, token_ms=1.0, max_queue=2) as service:
        asked = [asyncio.create_task(ask(service, "q"))]
        await eventually(lambda: service.in_workers() == 1)
        asked += [asyncio.create_task(ask(service, "q")) for _ in range(2)]
        await eventually(lambda: service.queued() == 2)
        with pytest.raises(Refused, match=r"2 of server.max_queue=2 requests wait"):
            await ask(service, "q")
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        service.drain()
        assert service.state() == "draining"


async def test_a_step_that_takes_too_long_is_a_stall() -> None:
    async with running(tokens=2, token_ms=300.0, stall_timeout_s=0.05) as service:
        asked = asyncio.create_task(ask(service, "q"))
        await eventually(lambda: service.state() == "stalled")
        await asked
        assert service.state() == "ready"


async def test_what_is_counted_has_the_names_of_vllm() -> None:
    async with running() as service:
        await ask(service, "the same beginning, one")
        await ask(service, "the same beginning, two")
        text = service.meters.exposition().decode()
        stats = await service.stats()
    for name in (
        "num_requests_running 0.0", "num_requests_waiting 0.0", "kv_cache_usage_perc 0.0", "num_preemptions_total 0.0",
        "prefix_cache_hits_total 16.0", "time_to_first_token_seconds_count 3.0", "generation_tokens_total 14.0",
    ):  # fmt: skip
        assert f"mlsys_{name}\n" in text
    assert stats["tokens"]["prefix_cache_hits"] == 16
    assert stats["pipeline"]["stepper.slots"] == 8


async def test_while_it_loads_it_says_so() -> None:
    service = Continuous(made("server/continuous"), FakePipeline(), policy())
    assert (await service.stats())["state"] == "loading"
    await service.close(drained=False)


async def test_what_cannot_be_prepared_fails_alone() -> None:
    async with running() as service:
        asked = [ask(service, "good"), ask(service, "fail prompt")]
        good, bad = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(good, dict)
    assert isinstance(bad, Failed)
