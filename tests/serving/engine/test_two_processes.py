"""Both sides of `server.engine_process=true` over a real socket, in one event loop: nothing is lost on the way."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from sections import composed, made
from serving_doubles import FakePipeline, Gate, eventually, served

from mlsys import signatures
from mlsys.errors import ProcessEnded
from mlsys.serving import parts
from mlsys.serving.engine.host import Host
from mlsys.serving.engine.remote import Remote
from mlsys.serving.pipeline_service import PipelineService
from mlsys.serving.scheduler import Scheduler

WORDS = ("corpus=animals", "embedder=hashing", "device=cpu", "generator=simulated", "generator.base_ms=0")
QUESTIONS = [f"What does a cat eat on day {day}?" for day in range(12)]


class Beside:
    """The engine's side in the test's own loop."""

    def __init__(self, service: PipelineService) -> None:
        self.service = service
        self.running: asyncio.Task[bool] | None = None

    async def start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.running = asyncio.create_task(Host(self.service).run(theirs))
        return ours

    async def ending(self) -> Exception:
        assert self.running is not None
        await asyncio.wait({self.running})
        return ProcessEnded(str(self.running.exception() or "it has ended"))

    async def stop(self, drained: bool) -> None:
        assert self.running is not None
        await asyncio.wait_for(self.running, 60)


@asynccontextmanager
async def two(*words: str) -> AsyncIterator[tuple[str, Remote]]:
    """The address of what a command line starts, with its engine behind a socket."""
    config = composed(*WORDS, *words)
    options = signatures.make("server", config["server"])
    remote = Remote(options, Beside(options.service(parts.of(config, Path()))))
    async with served(remote, options) as (url, _):
        yield url, remote


@asynccontextmanager
async def one(*words: str) -> AsyncIterator[str]:
    config = composed(*WORDS, *words)
    options = signatures.make("server", config["server"])
    async with served(options.service(parts.of(config, Path())), options) as (url, _):
        yield url


async def sent(url: str, body: dict[str, Any]) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return response.status, await response.text()


async def got(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


def told(text: str) -> Any:
    """What an answer says, without what differs each time."""
    if not text.startswith("event"):
        content = json.loads(text)
        for name in ("timings_ms", "request_id", "batch_size", "id", "created"):
            content.pop(name, None)
        return content
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if "data: " in line]
    whole = "".join(event["text"] for event in events if "text" in event and "tokens" in event)
    return whole, events[0]["passages"], {**events[-1], "timings_ms": 0, "request_id": 0, "batch_size": 0}


@pytest.mark.parametrize("mode", ["batch", "continuous"])
async def test_answers_are_those_of_one_process_whole_and_streamed_by_each_protocol(mode: str) -> None:
    rag = [{"query": query, "k": 1 + place % 3} for place, query in enumerate(QUESTIONS)]
    bodies: list[tuple[str, dict[str, Any]]] = [("/rag", body) for body in rag]
    bodies += [("/rag", {**body, "stream": True, "max_tokens": 4}) for body in rag]
    bodies += [
        ("/rag", {"query": "q", "stop": ["answer"], "temperature": 1.0, "seed": 2**40, "priority": 3}),
        ("/rag", {"query": "\ud83d\ude00 e\u0301", "messages": [{"role": "user", "content": "before"}]}),
        ("/v1/completions", {"model": "rag", "prompt": "a cat", "max_tokens": 3}),
        ("/v1/chat/completions", {"model": "simulated", "messages": [{"role": "user", "content": "hello"}]}),
        ("/v1/chat/completions", {"model": "nobody", "messages": [{"role": "user", "content": "hello"}]}),
        ("/rag", {"query": "far too long " * 200}),
    ]
    words = (f"server={mode}", "generator.max_prompt_tokens=300", "server.max_query_chars=4000")

    async def answers(url: str) -> list[tuple[int, Any]]:
        found = await asyncio.gather(*(sent(f"{url}{path}", body) for path, body in bodies))
        return [(status, told(text)) for status, text in found]

    async with one(*words) as url, two(*words) as (far, _):
        expected, found = await answers(url), await answers(far)
    assert found == expected
    assert {status for status, _ in found} >= {200, 404}


async def test_vectors_names_meters_and_counters_come_from_where_they_are() -> None:
    async with one("server=continuous") as url, two("server=continuous") as (far, _):
        ask = {"model": "hashing", "input": ["a", "b c"], "encoding_format": "base64"}
        vectors = [json.loads((await sent(f"{at}/v1/embeddings", ask))[1]) for at in (url, far)]
        assert vectors[0] == vectors[1]
        assert np.frombuffer(base64.b64decode(vectors[1]["data"][0]["embedding"]), np.float32).any()
        assert json.loads(await got(f"{far}/v1/models")) == json.loads(await got(f"{url}/v1/models"))
        for at in (url, far):
            assert (await sent(f"{at}/rag", {"query": QUESTIONS[0]}))[0] == 200
        pages = [await got(f"{at}/metrics") for at in (url, far)]
        stats = [json.loads(await got(f"{at}/stats")) for at in (url, far)]
    families = [
        {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")} for page in pages
    ]
    assert families[0] == families[1], "the same meters, each once"
    for line in (
        'mlsys_requests_total{code="200"} 2.0', "mlsys_ready 1.0", "mlsys_num_requests_running 0.0",
        'mlsys_stage_duration_seconds_count{stage="respond"} 1.0', "mlsys_queue_length 0.0",
    ):  # fmt: skip
        assert line in pages[1].splitlines()
    assert stats[0].keys() == stats[1].keys()
    for name in ("mode", "state", "responses", "workers"):
        assert stats[1][name] == stats[0][name]
    assert stats[1]["tokens"]["generation_tokens"] == stats[0]["tokens"]["generation_tokens"]


@asynccontextmanager
async def gated(**knobs: Any) -> AsyncIterator[tuple[str, Gate, FakePipeline, Remote]]:
    """A service whose engine waits at a gate once the probe has passed, one request at a time."""
    gate, pipeline = Gate(), FakePipeline()
    options = made("server/batch", **knobs)
    service = Scheduler(options, [pipeline], made("batching/size", max_size=1))
    remote = Remote(options, Beside(service))
    async with served(remote, options) as (url, _):
        pipeline.hooks["generate"] = gate
        try:
            yield url, gate, pipeline, remote
        finally:
            gate.opened.set()


def engine_of(remote: Remote) -> PipelineService:
    assert isinstance(remote.engine, Beside)
    return remote.engine.service


async def test_a_client_that_leaves_and_a_deadline_free_the_place_in_the_engine() -> None:
    async with gated() as (url, gate, pipeline, remote):
        first = asyncio.create_task(sent(f"{url}/rag", {"query": "first"}))
        await gate.reached()
        leaving = asyncio.create_task(sent(f"{url}/rag", {"query": "leaves"}))
        status, text = await sent(f"{url}/rag", {"query": "late", "timeout_ms": 50})
        assert (status, json.loads(text)["detail"]) == (
            504, "the deadline (timeout_ms) passed before the answer was ready",
        )  # fmt: skip
        await eventually(lambda: engine_of(remote).queued() == 1)
        leaving.cancel()
        await eventually(lambda: engine_of(remote).queued() == 0)
        gate.opened.set()
        assert (await first)[0] == 200
        assert (await sent(f"{url}/rag", {"query": "last"}))[0] == 200
    asked = {query for batch in pipeline.batches() for query in batch}
    assert {"first", "last"} <= asked
    assert not {"late", "leaves"} & asked


async def test_a_full_queue_is_the_engines_word_and_a_stage_that_raises_is_one_requests() -> None:
    async with gated(max_queue=1) as (url, gate, _, remote):
        first = asyncio.create_task(sent(f"{url}/rag", {"query": "first"}))
        await gate.reached()
        waiting = asyncio.create_task(sent(f"{url}/rag", {"query": "fail prompt"}))
        await eventually(lambda: engine_of(remote).queued() == 1)
        status, text = await sent(f"{url}/rag", {"query": "one too many"})
        assert (status, json.loads(text)["detail"]) == (
            429, "the queue is full: 1 of server.max_queue=1 requests wait",
        )  # fmt: skip
        await eventually(lambda: remote._waiting == 1)
        assert (await sent(f"{url}/rag/jobs", {"query": "a job"}))[0] == 429
        gate.opened.set()
        assert (await first)[0] == 200
        status, text = await waiting
        assert (status, json.loads(text)["detail"]) == (
            500, "the prompt stage failed: ValueError: cannot prompt this",
        )  # fmt: skip


async def test_what_the_engine_has_not_read_is_bounded() -> None:
    async with gated(max_queue=2) as (url, _, _, remote):
        remote._sent += 2  # as if it had stopped reading
        status, text = await sent(f"{url}/rag", {"query": "q"})
        remote._sent -= 2
    assert (status, json.loads(text)["detail"]) == (
        429, "the engine has not read server.max_queue=2 requests yet",
    )  # fmt: skip


async def test_an_engine_that_says_nothing_is_stalled_and_one_that_is_gone_is_down() -> None:
    async with gated() as (url, gate, _, remote):
        first = asyncio.create_task(sent(f"{url}/rag", {"query": "first"}))
        await gate.reached()
        remote._heard_at -= 60
        assert remote.state() == "stalled"
        await eventually(lambda: remote.state() == "ready")  # it tells how it is, whatever its worker does
        remote._frames.close()
        assert json.loads((await first)[1])["detail"] == "the engine's process has ended"
        assert (await first)[0] == 503
        assert json.loads(await got(f"{url}/ready"))["detail"] == "down"
        assert (await sent(f"{url}/rag", {"query": "q"}))[0] == 503
        assert "mlsys_ready 0.0" in await got(f"{url}/metrics")
        gate.opened.set()


async def test_texts_gather_while_the_other_process_does_not_read() -> None:
    host = Host(Scheduler(made("server/batch"), [FakePipeline()], made("batching/hybrid")))
    sent_off: list[dict[str, Any]] = []
    host._frames.send = sent_off.append  # type: ignore[assignment, method-assign]
    host._frames.pause_writing()
    for text in ("one", " two", " three"):
        host.write(7, text, 1)
        await asyncio.sleep(0)
    host.write(8, "other", None)
    await asyncio.sleep(0)
    assert sent_off == []
    host._frames.resume_writing()
    await asyncio.sleep(0)
    assert [message["text"] for message in sent_off] == [[[7, "one two three", 3], [8, "other", None]]]
