"""Answers as they come, over a real socket: the order of events, failures before and after the first, leaving."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from serving_doubles import FakePipeline, Gate, eventually, served

from mlsys.rag.item import Hit
from mlsys.serving.http import sse
from mlsys.serving.modes import Answer
from mlsys.serving.request import BadGateway, Request

from .test_app import batch, post

Event = tuple[str, dict[str, Any]]


def events(text: str) -> list[Event]:
    """Names and contents of a whole stream."""
    found = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((lines.get("event", ""), json.loads(lines["data"])))
    return found


async def stream(
    session: aiohttp.ClientSession, url: str, **body: Any
) -> tuple[aiohttp.ClientResponse, list[Event]]:
    async with session.post(f"{url}/rag", json={"query": "who?", "stream": True, **body}) as response:
        return response, events(await response.text())


async def test_passages_then_text_then_times() -> None:
    async with (
        served(*batch(FakePipeline(), label="one")) as (url, handler),
        aiohttp.ClientSession() as session,
    ):
        response, found = await stream(session, url, k=2)
        assert response.content_type == "text/event-stream"
        assert response.headers["cache-control"] == "no-cache"
        assert (response.headers["x-replica"], response.headers["x-passages"]) == ("one", "0,1")
        await eventually(lambda: handler.in_flight == 0)
        assert handler.service.meters.codes == {200: 1}
    assert [name for name, _ in found] == ["passages", "text", "done"]
    passages, text, done = (content for _, content in found)
    assert [passage["text"] for passage in passages["passages"]] == ["passage 0", "passage 1"]
    assert text == {"text": "answer to who?", "tokens": 3}
    assert done["request_id"] == passages["request_id"]
    assert (done["result"], done["tokens"], done["replica"]) == ("answer to who?", 3, "one")
    parts = dict(done["timings_ms"])
    assert parts.pop("total") == pytest.approx(sum(parts.values()), abs=0.01)


async def test_what_fails_before_the_first_event_has_its_status() -> None:
    async with served(*batch(FakePipeline())) as (url, _), aiohttp.ClientSession() as session:
        status, body, _ = await post(session, url, {"query": "fail prompt", "stream": True})
        assert (status, body["detail"]) == (500, "the prompt stage failed: ValueError: cannot prompt this")
        status, body, _ = await post(session, url, {"query": "", "stream": True})
        assert status == 422
        status, body, _ = await post(session, url, {"query": "x", "stream": True}, "/rag/jobs")
        assert (status, body["detail"][0]["loc"]) == (422, ["body", "stream"])


@pytest.mark.parametrize("error", [BadGateway("it is gone"), ZeroDivisionError("no")])
async def test_what_fails_later_ends_with_an_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(request: Request) -> Answer:
        assert request.stream is not None
        request.begin()
        request.stream.retrieved([Hit(7, "a", "b", float("nan"))])
        request.stream.write("half", 1)
        await asyncio.sleep(0.01)
        raise error

    service, chosen = batch(FakePipeline())
    async with served(service, chosen) as (url, handler), aiohttp.ClientSession() as session:
        monkeypatch.setattr(service, "answer", failing)
        _, found = await stream(session, url)
        await eventually(lambda: handler.in_flight == 0)
    assert [name for name, _ in found] == ["passages", "text", "error"]
    assert found[0][1]["passages"][0]["score"] is None
    assert found[-1][1] in (
        {"status": 502, "detail": "it is gone"},
        {"status": 500, "detail": "ZeroDivisionError: no"},
    )


async def test_pieces_come_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    more = asyncio.Event()

    async def slow(request: Request) -> Answer:
        assert request.stream is not None
        request.begin()
        request.stream.retrieved([])
        request.stream.write("größer ", 1)
        await more.wait()
        request.stream.write("東京\n\ndata: x", 2)
        request.item.result = "größer 東京"
        return Answer(b"")

    service, chosen = batch(FakePipeline())
    async with served(service, chosen) as (url, _), aiohttp.ClientSession() as session:
        monkeypatch.setattr(service, "answer", slow)
        async with session.post(f"{url}/rag", json={"query": "q", "stream": True}) as response:
            begun = ""
            while "event: text" not in begun:
                begun += (await response.content.readany()).decode()
            assert "gr\\u00f6\\u00dfer" in begun
            more.set()
            found = events(begun + await response.text())
    assert [content["text"] for name, content in found if name == "text"] == ["größer ", "東京\n\ndata: x"]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_ends_its_request(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()

    async def endless(request: Request) -> Answer:
        assert request.stream is not None
        request.begin()
        if begun:
            request.stream.retrieved([])
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()
        return Answer(b"")

    service, chosen = batch(FakePipeline())
    async with served(service, chosen) as (url, handler):
        monkeypatch.setattr(service, "answer", endless)
        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(session.post(f"{url}/rag", json={"query": "q", "stream": True}))
            await eventually(lambda: handler.in_flight == 1)
            if begun:
                async with await asking as response:
                    assert (await response.content.readany()).startswith(b"event: passages")
                    response.close()
            else:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        await asyncio.wait_for(ended.wait(), 300)
        await eventually(lambda: handler.in_flight == 0)
        assert service.meters.codes == {499: 1}


async def test_a_client_that_leaves_a_batch_leaves_its_place() -> None:
    pipeline, gate = FakePipeline(), Gate()
    service, chosen = batch(pipeline)
    async with served(service, chosen) as (url, handler):
        pipeline.hooks["embed"] = gate
        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(session.post(f"{url}/rag", json={"query": "q", "stream": True}))
            await gate.reached()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        await eventually(lambda: handler.in_flight == 0)
        gate.opened.set()
        await eventually(lambda: service.running == 0)
        assert pipeline.batches("retrieve") == [["Is everything there?"]]


async def test_limits_and_stops_are_honoured() -> None:
    pipeline = FakePipeline()
    async with served(*batch(pipeline, max_tokens=9)) as (url, _), aiohttp.ClientSession() as session:
        status, body, _ = await post(session, url, {"query": "who?", "max_tokens": 10})
        assert (status, body["detail"][0]["loc"]) == (422, ["body", "max_tokens"])
        _, body, _ = await post(session, url, {"query": "who?", "max_tokens": 9, "stop": " to"})
        assert (body["result"], body["finish_reason"]) == ("answer", "stop")
        status, body, _ = await post(session, url, {"query": "who?", "stop": ["a"] * 5})
        assert (status, body["detail"][0]["loc"]) == (422, ["body", "stop"])


def test_an_event_is_one_line_whatever_it_says() -> None:
    written = sse.event({"text": "a\n\nb\r\u2028c"}, "text")
    assert written.count(b"\n") == 3
    assert json.loads(written.splitlines()[1].removeprefix(b"data: ")) == {"text": "a\n\nb\r\u2028c"}
