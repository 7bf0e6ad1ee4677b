"""A service whose generator is at an address, in every mode, over real HTTP: what its clients see of that server."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import upstream_double as double
from sections import composed
from serving_doubles import eventually, served
from upstream_double import Behaviour, UpstreamDouble, embeds

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.serving import parts
from mlsys.serving.modes import Service

MODES = ["baseline", "queue", "batch", "continuous"]
GROUPS = ["batch", "continuous"]  # a worker's thread, and a request of its own
QUICK = {"backoff_ms": 1.0, "start_timeout_s": 0.0, "check_interval_s": 0.05}


def service(mode: str, url: str, scheduling: str = "fcfs", **knobs: Any) -> tuple[Service, Any]:
    config = composed(
        f"server={mode}", "corpus=animals", "embedder=hashing", "generator=openai", "device=cpu",
        f"scheduling={scheduling}", generator={"url": url, **QUICK, **knobs},
    )  # fmt: skip
    return of(config)


def of(config: dict[str, Any]) -> tuple[Service, Any]:
    options = signatures.make("server", config["server"])
    built = parts.of(config, Path())
    return options.service(built), options


class Client:
    def __init__(self, url: str, session: aiohttp.ClientSession, there: UpstreamDouble) -> None:
        self.url, self.session, self.there = url, session, there

    async def ask(self, **fields: Any) -> tuple[int, Any, Any]:
        body = {"query": "What does a cat eat?", **fields}
        async with self.session.post(f"{self.url}/rag", json=body) as response:
            return response.status, await response.json(), response.headers

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.url + path) as response:
            return response.status, await response.text()


@asynccontextmanager
async def client(mode: str, *behave: Behaviour, **knobs: Any) -> AsyncIterator[Client]:
    """A client of a service before a double that is well until the service has started."""
    there = UpstreamDouble(double.streams)
    await there.start()
    try:
        made, options = service(mode, there.url, **knobs)
        async with served(made, options) as (url, _), aiohttp.ClientSession() as session:
            there.behave = list(behave)
            there.asked.clear()
            yield Client(url, session, there)
    finally:
        await there.stop()


@pytest.mark.parametrize("mode", MODES)
async def test_clients_get_the_servers_answers(mode: str) -> None:
    async with client(mode, double.streams) as asking:
        answers = await asyncio.gather(*(asking.ask() for _ in range(5)))
        for status, body, _ in answers:
            assert (status, body["result"], body["tokens"], body["prompt_tokens"]) == (
                200,
                "Yes, indeed",
                3,
                7,
            )
            assert body["finish_reason"] == "stop"
            assert len(body["passages"]) == 2
            assert ({"prefill", "decode"} <= body["timings_ms"].keys()) == (mode == "continuous")
        assert asking.there.asked[0]["messages"][1]["content"].endswith("Question: What does a cat eat?")
        stats = json.loads((await asking.get("/stats"))[1])
        assert stats["upstream"]["generator.succeeded"] >= 5
        assert (
            'mlsys_upstream_requests_total{outcome="succeeded",part="generator"}'
            in (await asking.get("/metrics"))[1]
        )


@pytest.mark.parametrize("mode", GROUPS)
@pytest.mark.parametrize(
    ("behaviour", "status", "said"),
    [
        (double.wrong_json, 502, "the generate stage: generator.url=.* answers with what is none"),
        (double.fails, 502, "answers 500: CUDA out of memory"),
        (double.asks_to_wait("30"), 429, "asks to come back in 30 s"),
        (double.hangs, 504, "gives no whole answer within 300 ms"),
        (double.closes_early, 502, "broke off"),
        (double.redirects, 502, "a redirect is not followed"),
        (double.drips, 504, "gives no whole answer within 300 ms"),
        (double.refuses, 400, "maximum context length"),
    ],
    ids=["wrong_json", "500", "429", "hang", "early_close", "redirect", "slow_body", "400"],
)
async def test_what_that_server_does_wrong_is_told_its_own_client_and_nobody_else(
    mode: str, behaviour: Behaviour, status: int, said: str
) -> None:
    async with client(mode, behaviour, timeout_ms=300.0 if status == 504 else 20_000.0) as asking:
        asked = time.monotonic()
        found, body, headers = await asking.ask()
        assert time.monotonic() - asked < 60
        assert found == status
        assert re.search(said, body["detail"])
        assert ("Retry-After" in headers) == (status == 429)


async def test_tokens_are_null_where_the_server_counts_none() -> None:
    async with client("continuous", double.without_usage) as asking:
        status, body, _ = await asking.ask()
        assert (status, body["result"], body["tokens"], body["prompt_tokens"]) == (200, "Yes", None, None)


@pytest.mark.parametrize("mode", GROUPS)
async def test_a_client_that_leaves_takes_its_request_along(mode: str) -> None:
    async with client(mode, double.hangs) as asking:
        leaving = asyncio.ensure_future(asking.ask())
        await eventually(lambda: asking.there.running == 1, 60)
        leaving.cancel()
        await eventually(lambda: asking.there.left == 1, 60)
        asking.there.behave = [double.streams]
        assert (await asking.ask())[0] == 200


@pytest.mark.parametrize("mode", GROUPS)
async def test_a_deadline_ends_the_request_there(mode: str) -> None:
    async with client(mode, double.hangs) as asking:
        timeout_ms = 100
        while not asking.there.asked:  # a machine that stands still can be late for it
            timeout_ms *= 2
            status, body, _ = await asking.ask(timeout_ms=timeout_ms)
            assert (status, "deadline" in body["detail"]) == (504, True)
        await eventually(lambda: asking.there.left == len(asking.there.asked), 60)


@pytest.mark.parametrize("mode", GROUPS)
async def test_a_dead_server_makes_the_service_unready_until_it_is_back(mode: str) -> None:
    async with client(mode, double.streams) as asking:
        there = asking.there
        await there.stop()
        answers = await asyncio.gather(*(asking.ask() for _ in range(20)))
        assert {status for status, _, _ in answers} == {502}
        async with asyncio.timeout(60):
            while (await asking.get("/ready"))[0] != 503:
                await asyncio.sleep(0.01)
        assert "cannot be reached: Connection refused" in (await asking.get("/ready"))[1]
        status, body, headers = await asking.ask()
        assert (status, headers["Retry-After"]) == (502, "1")
        assert "Connection refused, for" in body["detail"]
        await there.start()
        async with asyncio.timeout(60):
            while (await asking.get("/ready"))[0] != 200:
                await asyncio.sleep(0.01)
        assert (await asking.ask())[0] == 200
        stats = json.loads((await asking.get("/stats"))[1])
        assert stats["upstream"]["generator.outages"] == 1


async def events(asking: Client, at_least: int = 0) -> list[tuple[str, Any]]:
    """The stream of an answer, or its first events."""
    found: list[tuple[str, Any]] = []
    body = {"query": "What does a cat eat?", "stream": True}
    async with asking.session.post(f"{asking.url}/rag", json=body) as response:
        name = ""
        async for line in response.content:
            field, _, value = line.decode().strip().partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                found.append((name, json.loads(value)))
                if len(found) == at_least:
                    break
    return found


async def test_text_is_passed_on_while_the_server_still_writes() -> None:
    async with client("continuous", double.drips) as asking:
        found = await events(asking, at_least=3)
        assert [name for name, _ in found] == ["passages", "text", "text"]
        assert found[1][1] == {"text": "a", "tokens": None}
        await eventually(lambda: asking.there.left == 1, 60)


async def test_a_stream_that_somebody_saw_is_not_begun_anew() -> None:
    async with client("continuous", double.closes_early, double.streams) as asking:
        found = await events(asking)
        assert [name for name, _ in found] == ["passages", "text", "error"]
        assert found[-1][1]["status"] == 502
        assert len(asking.there.asked) == 1


async def test_a_whole_stream_is_its_result() -> None:
    async with client("continuous", double.streams) as asking:
        found = await events(asking)
        assert "".join(content["text"] for name, content in found if name == "text") == "Yes, indeed"
        name, done = found[-1]
        assert (name, done["result"], done["tokens"]) == ("done", "Yes, indeed", 3)


async def test_an_embedder_that_fails_is_not_asked_once_more_for_each_of_its_batch() -> None:
    there = UpstreamDouble(embeds(8))
    await there.start()
    try:
        config = composed(
            "server=batch", "corpus=animals", "embedder=openai", "generator=simulated", "device=cpu",
            "batching=size", embedder={"url": there.url, "timeout_ms": 400.0}, batching={"max_size": 4},
        )  # fmt: skip
        made, options = of(config)
        async with served(made, options) as (url, _), aiohttp.ClientSession() as session:
            asking = Client(url, session, there)
            there.behave = [double.hangs]
            there.asked.clear()
            answers = await asyncio.gather(*(asking.ask() for _ in range(4)))
            assert {(status, body["detail"].partition(":")[0]) for status, body, _ in answers} == {
                (504, "the embed stage")
            }
            assert len(there.asked) == 1
            there.behave = [embeds(8)]
            answers = await asyncio.gather(*(asking.ask() for _ in range(4)))
            assert {status for status, _, _ in answers} == {200}
    finally:
        await there.stop()


def test_what_that_server_decides_cannot_be_chosen_here() -> None:
    with pytest.raises(UserError, match="scheduling=fair: generator=openai schedules by itself"):
        service("continuous", "http://127.0.0.1:9", scheduling="fair")
