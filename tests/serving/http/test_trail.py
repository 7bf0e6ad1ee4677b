"""Request ids and the log of requests."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import aiohttp
import pytest
from sections import made
from serving_doubles import FakePipeline, eventually, served

from mlsys.errors import UserError
from mlsys.serving.http import trail
from mlsys.serving.http.handler import Handler
from mlsys.serving.modes import Answer
from mlsys.serving.request import BadGateway, Request
from mlsys.serving.scheduler import Scheduler
from mlsys.serving.stream import Stream


@pytest.mark.parametrize(
    ("sent", "kept"), [("order-7/a.b", True), ("", False), ("x" * 129, False), ("a b", False)]
)
async def test_the_id_of_a_client_is_kept_where_it_is_plain(sent: str, kept: bool) -> None:
    options = made("server/batch")
    service = Scheduler(options, [FakePipeline()], made("batching/hybrid"))
    async with served(service, options) as (url, _), aiohttp.ClientSession() as session:
        async with session.get(f"{url}/health", headers={trail.HEADER: sent}) as response:
            own = response.headers[trail.HEADER]
            assert (own == sent) is kept
            assert kept or len(own) == 32
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["x-frame-options"] == "DENY"
        async with session.get(f"{url}/nowhere") as response:
            assert (response.status, len(response.headers[trail.HEADER])) == (404, 32)


@pytest.mark.parametrize("told", [False, True])
async def test_a_line_tells_what_happened_and_the_question_only_when_asked(
    tmp_path: Path, told: bool
) -> None:
    log = tmp_path / "requests.jsonl"
    options = made("server/batch", request_log=str(log), log_questions=told, label="one")
    service = Scheduler(options, [FakePipeline()], made("batching/hybrid"))
    headers = {trail.HEADER: "mine", "x-api-key": "s3cret"}
    async with served(service, options) as (url, _), aiohttp.ClientSession(headers=headers) as session:
        async with session.post(f"{url}/rag", json={"query": "a secret question"}) as response:
            size = len(await response.read())
        await (await session.post(f"{url}/rag", json={})).read()
    first, second = [json.loads(line) for line in log.read_text().splitlines()]
    assert first["id"] == second["id"] == "mine"
    wanted = {"method": "POST", "path": "/rag", "status": 200, "bytes": size, "address": "127.0.0.1"}
    assert wanted.items() <= first.items()
    assert first["duration_ms"] > 0
    assert first.get("question") == ("a secret question" if told else None)
    assert second["status"] == 422
    assert "s3cret" not in log.read_text()


@pytest.mark.parametrize(("leaves", "status"), [(True, 499), (False, 408)])
async def test_a_request_that_does_not_arrive_has_the_status_that_it_was_told(
    tmp_path: Path, leaves: bool, status: int
) -> None:
    log = tmp_path / "requests.jsonl"
    options = made("server/batch", request_log=str(log), receive_timeout_s=60.0 if leaves else 0.05)
    service = Scheduler(options, [FakePipeline()], made("batching/hybrid"))
    async with served(service, options) as (url, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        head = b"POST /rag HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
        writer.write(head + b"{")
        if not leaves:
            assert (await reader.readline()).split()[1] == b"408"
        writer.close()
        await eventually(lambda: bool(log.read_text()))
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert (line["status"], line["bytes"]) == (status, 0)


async def test_a_stream_that_breaks_off_names_who_wrote_it(monkeypatch: pytest.MonkeyPatch) -> None:
    options = made("server/batch")
    service = Scheduler(options, [FakePipeline()], made("batching/hybrid"))
    request = Request("q", 1, stream=Stream())

    async def breaks_off(request: Request) -> Answer:
        assert request.stream is not None
        request.stream.replica = "replica-1"
        raise BadGateway("the answer broke off")

    async def stays() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(service, "answer", breaks_off)
    trail.current.set(line := {"id": "one"})
    with pytest.raises(BadGateway):
        await Handler(service, options).begin(request, stays)
    assert line == {"id": "one", "replica": "replica-1"}


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    assert trail.opened(None) is None
    with pytest.raises(UserError, match=f"server.request_log={tmp_path} cannot be written: Is a directory"):
        trail.opened(str(tmp_path))


async def test_a_proxy_on_this_machine_says_whose_request_it_is(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    options = made("server/batch", request_log=str(log))
    service = Scheduler(options, [FakePipeline()], made("batching/hybrid"))
    headers = {"x-forwarded-for": "203.0.113.5"}
    async with served(service, options) as (url, _), aiohttp.ClientSession(headers=headers) as session:
        await (await session.get(f"{url}/health")).read()
    assert json.loads(log.read_text())["address"] == "203.0.113.5"


async def test_outside_of_a_request_there_is_nothing_to_note() -> None:
    trail.note(question="x")
    assert trail.request_id() is None


async def test_what_fails_has_its_line_too() -> None:
    log = io.StringIO()

    async def fails(*_: object) -> None:
        raise RuntimeError("broken")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(RuntimeError, match="broken"):
        await trail.Trail(fails, log)(scope, None, None)
    assert json.loads(log.getvalue())["status"] == 0
