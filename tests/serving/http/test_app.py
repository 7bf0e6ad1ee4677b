"""HTTP over a real socket, with a pipeline under control: documents, errors, jobs, disconnects, overload."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sections import made
from serving_doubles import FakePipeline, Gate, eventually, served

from mlsys.rag.item import Hit, Item
from mlsys.serving.modes import Answer
from mlsys.serving.options import Server
from mlsys.serving.request import Request
from mlsys.serving.scheduler import Scheduler


def batch(pipeline: FakePipeline, **knobs: Any) -> tuple[Scheduler, Server]:
    chosen = made("server/batch", **{"max_queue": 64, "max_k": 5, "max_query_chars": 50, **knobs})
    return Scheduler(chosen, [pipeline], made("batching/hybrid", max_size=8)), chosen


async def post(
    session: aiohttp.ClientSession, url: str, body: object, path: str = "/rag", **knobs: Any
) -> tuple[int, Any, Mapping[str, str]]:
    async with session.post(url + path, json=body, **knobs) as response:
        return response.status, await response.json(), response.headers


async def get(session: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with session.get(url) as response:
        return response.status, await response.json()


async def test_an_answer() -> None:
    async with served(*batch(FakePipeline())) as (url, _), aiohttp.ClientSession() as session:
        status, body, _ = await post(session, url, {"query": "who?", "k": 3})
    assert status == 200
    assert body["query"] == "who?"
    assert body["result"] == "answer to who?"
    assert body["passages"][1] == {"id": 1, "score": 0.9, "text": "passage 1", "source": "fake"}
    assert len(body["passages"]) == 3
    assert set(body["timings_ms"]) == {"queue", "embed", "retrieve", "prompt", "generate", "respond", "total"}
    assert body["batch_size"] == 1
    assert body["tokens"] == 3
    assert uuid.UUID(body["request_id"])
    assert body["replica"] is None


async def test_two_point_nought_is_two() -> None:
    async with served(*batch(FakePipeline())) as (url, _), aiohttp.ClientSession() as session:
        status, body, _ = await post(session, url, {"query": "who?", "k": 2.0, "timeout_ms": 9000})
    assert (status, len(body["passages"])) == (200, 2)


async def test_a_score_that_is_no_number_is_null() -> None:
    def nowhere(items: list[Item]) -> None:
        for item in items:
            item.passages = [Hit(0, "passage", "fake", float("nan"))]

    pipeline = FakePipeline(prompt=nowhere)
    async with served(*batch(pipeline)) as (url, _), aiohttp.ClientSession() as session:
        status, body, _ = await post(session, url, {"query": "?"})
    assert status == 200
    assert body["passages"][0]["score"] is None


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "query", "Field required"),
        ({"query": ""}, "query", "String should have at least 1 character"),
        ({"query": "x" * 51}, "query", "String should have at most 50 characters"),
        ({"query": "x", "k": 0}, "k", "Input should be greater than or equal to 1"),
        ({"query": "x", "k": 6}, "k", "Input should be less than or equal to 5"),
        ({"query": "x", "k": "2"}, "k", "Input should be a valid integer"),
        ({"query": "x", "k": True}, "k", "Input should be a valid integer"),
        ({"query": "x", "k": 2.5}, "k", "Input should be a valid integer"),
        ({"query": 7}, "query", "Input should be a valid string"),
        ({"query": "x", "timeout_ms": -1}, "timeout_ms", "Input should be greater than 0"),
        ({"query": "x", "kk": 1}, "kk", "Extra inputs are not permitted"),
    ],
)
async def test_a_wrong_field_is_named(body: object, field: str, message: str) -> None:
    async with served(*batch(FakePipeline())) as (url, _), aiohttp.ClientSession() as session:
        for path in ("/rag", "/rag/jobs"):
            status, answer, _ = await post(session, url, body, path)
            assert status == 422
            assert answer["detail"][0]["loc"] == ["body", field]
            assert answer["detail"][0]["msg"] == message


async def test_what_cannot_be_read_is_no_server_error() -> None:
    async with served(*batch(FakePipeline())) as (url, _), aiohttp.ClientSession() as session:
        for data in (
            b"{",
            b"\xff\xfe",
            b'{"query": "\\ud800"}',
            b"[]",
            b"null",
            b"[" * 5000,
            b'{"query": NaN}',
        ):
            headers = {"content-type": "application/json"}
            async with session.post(f"{url}/rag", data=data, headers=headers) as response:
                assert response.status in (400, 422), data
                assert "detail" in await response.json()


async def test_a_large_body_is_refused_with_and_without_its_length() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    async with served(*batch(FakePipeline(), max_body_bytes=1000)) as (url, _):
        for data in (b"x" * 1001, chunks()):
            async with aiohttp.ClientSession() as session, session.post(f"{url}/rag", data=data) as response:
                assert response.status == 413
                assert (await response.json())["detail"] == "body: larger than server.max_body_bytes=1000"


async def test_one_failing_request_fails_alone() -> None:
    async with served(*batch(FakePipeline())) as (url, _), aiohttp.ClientSession() as session:
        bodies = [{"query": query} for query in ("a", "fail prompt", "b")]
        answers = await asyncio.gather(*(post(session, url, body) for body in bodies))
    assert [status for status, _, _ in answers] == [200, 500, 200]
    assert answers[1][1]["detail"] == "the prompt stage failed: ValueError: cannot prompt this"


async def test_jobs() -> None:
    pipeline, gate = FakePipeline(), Gate()
    async with served(*batch(pipeline, jobs_max=2)) as (url, _), aiohttp.ClientSession() as session:
        pipeline.hooks["embed"] = gate
        status, body, _ = await post(session, url, {"query": "later"}, "/rag/jobs")
        assert (status, body["status"]) == (202, "pending")
        job = f"{url}/rag/jobs/{uuid.UUID(body['id'])}"
        assert await get(session, job) == (200, {**body, "response": None, "error": None})
        gate.opened.set()
        async with asyncio.timeout(300):
            while (answer := (await get(session, job))[1])["status"] == "pending":
                await asyncio.sleep(0.01)
        assert answer["status"] == "done"
        assert answer["response"]["result"] == "answer to later"
        _, failing, _ = await post(session, url, {"query": "fail embed"}, "/rag/jobs")
        async with asyncio.timeout(300):
            while (answer := (await get(session, f"{url}/rag/jobs/{failing['id']}"))[1])[
                "status"
            ] == "pending":
                await asyncio.sleep(0.01)
        assert answer["error"] == {
            "status": 500,
            "detail": "the embed stage failed: ValueError: cannot embed this",
        }
        assert (await get(session, f"{url}/rag/jobs/{uuid.uuid4()}"))[0] == 404
        assert (await get(session, f"{url}/rag/jobs/1"))[0] == 422


async def test_a_deadline_is_answered_in_time_with_504() -> None:
    pipeline, gate = FakePipeline(), Gate()
    async with served(*batch(pipeline)) as (url, _), aiohttp.ClientSession() as session:
        pipeline.hooks["generate"] = gate
        status, body, _ = await post(session, url, {"query": "x", "timeout_ms": 30})
        assert status == 504
        assert body["detail"].startswith("the deadline (timeout_ms) passed")
        gate.opened.set()


async def test_the_servers_own_deadline() -> None:
    pipeline, gate = FakePipeline(), Gate()
    async with served(*batch(pipeline, default_timeout_ms=30.0)) as (url, _):
        pipeline.hooks["generate"] = gate
        async with aiohttp.ClientSession() as session:
            assert (await post(session, url, {"query": "x"}))[0] == 504
        gate.opened.set()


async def test_a_third_of_the_clients_leave_and_nothing_is_done_for_them() -> None:
    pipeline, gate = FakePipeline(), Gate()
    service, chosen = batch(pipeline)
    async with served(service, chosen) as (url, handler):
        pipeline.hooks["embed"] = gate
        sessions = [aiohttp.ClientSession() for _ in range(30)]
        asks = [
            asyncio.create_task(post(session, url, {"query": f"q{number}"}))
            for number, session in enumerate(sessions)
        ]
        await gate.reached()
        await eventually(lambda: handler.in_flight == 30)
        leaving = [number for number in range(30) if number % 3 == 1]
        for number in leaving:
            asks[number].cancel()
            await sessions[number].close()
        await eventually(lambda: handler.in_flight == 20)
        gate.opened.set()
        answers = await asyncio.gather(*(ask for n, ask in enumerate(asks) if n not in leaving))
        assert [answer[1]["result"] for answer in answers] == [
            f"answer to q{n}" for n in range(30) if n % 3 != 1
        ]
        generated = {query for queries in pipeline.batches() for query in queries}
        assert generated.isdisjoint(f"q{number}" for number in leaving)
        await eventually(lambda: service.running == 0 and handler.in_flight == 0)
        assert service.queued() == 0
        assert service.meters.codes == {200: 20, 499: 10}
        for session in sessions:
            await session.close()


@pytest.mark.slow
async def test_ten_times_overload_is_refused_not_queued() -> None:
    pipeline, gate = FakePipeline(), Gate()
    service, chosen = batch(pipeline, max_queue=16)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        served(service, chosen) as (url, handler),
        aiohttp.ClientSession(connector=connector) as session,
    ):
        pipeline.hooks["embed"] = gate
        asks = [asyncio.create_task(post(session, url, {"query": f"q{number}"})) for number in range(170)]
        await eventually(lambda: sum(ask.done() for ask in asks) >= 170 - 16 - 8)
        assert service.queued() <= 16
        assert (await get(session, f"{url}/ready"))[0] == 200
        gate.opened.set()
        answers = await asyncio.gather(*asks)
        statuses = [status for status, _, _ in answers]
        assert set(statuses) == {200, 429}
        assert 16 <= statuses.count(200) <= 16 + 8
        for status, body, headers in answers:
            if status == 429:
                assert int(headers["retry-after"]) >= 1
                assert body["detail"] == "the queue is full: 16 of server.max_queue=16 requests wait"
        assert handler.in_flight == 0
        assert (await post(session, url, {"query": "after the storm"}))[0] == 200


async def test_draining_refuses_new_work_and_ends_the_old() -> None:
    pipeline, gate = FakePipeline(), Gate()
    async with served(*batch(pipeline)) as (url, handler), aiohttp.ClientSession() as session:
        pipeline.hooks["embed"] = gate
        running = asyncio.create_task(post(session, url, {"query": "running"}))
        await gate.reached()
        draining = asyncio.create_task(handler.drain())
        await asyncio.sleep(0)
        assert (await get(session, f"{url}/ready"))[0] == 503
        assert (await get(session, f"{url}/health"))[0] == 200
        status, body, headers = await post(session, url, {"query": "late"})
        assert (status, body["detail"]) == (503, "the service is draining")
        assert int(headers["retry-after"]) >= 1
        assert not draining.done()
        gate.opened.set()
        assert (await running)[0] == 200
        assert await draining is True


async def test_draining_gives_up_in_the_end() -> None:
    pipeline, gate = FakePipeline(), Gate()
    async with (
        served(*batch(pipeline, drain_timeout_s=0.05)) as (url, handler),
        aiohttp.ClientSession() as session,
    ):
        pipeline.hooks["embed"] = gate
        running = asyncio.create_task(post(session, url, {"query": "running"}))
        await gate.reached()
        assert await handler.drain() is False
        gate.opened.set()
        await running


async def test_metrics_and_stats() -> None:
    async with served(*batch(FakePipeline())) as (url, _), aiohttp.ClientSession() as session:
        await asyncio.gather(*(post(session, url, {"query": f"q{number}"}) for number in range(5)))
        await post(session, url, {"query": "fail embed"})
        async with session.get(f"{url}/metrics") as response:
            assert response.content_type == "text/plain"
            text = await response.text()
        status, stats = await get(session, f"{url}/stats")
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["mlsys_requests_total", "200"] == 5
    assert values["mlsys_requests_total", "500"] == 1
    assert values["mlsys_request_duration_seconds_count",] == 6
    assert values["mlsys_stage_duration_seconds_count", "generate"] == 5
    assert values["mlsys_requests_in_flight",] == 0
    assert values["mlsys_queue_length",] == 0
    assert values["mlsys_ready",] == 1
    assert not any(name[0].startswith(("python_", "process_")) for name in values), "a registry of its own"
    assert status == 200
    assert stats["responses"] == {"200": 5, "500": 1}
    assert 0 < stats["front"]["cpu_us"] < stats["front"]["clock_us"]
    assert stats["mode"] == "batch"
    assert stats["pipeline"]["generator.name"] == "fake"


async def test_a_key_is_required_and_never_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSYS_TEST_KEY", "s3cret")
    caplog.set_level("DEBUG")
    async with (
        served(*batch(FakePipeline(), api_key="env:MLSYS_TEST_KEY")) as (url, _),
        aiohttp.ClientSession() as session,
    ):
        assert (await post(session, url, {"query": "x"}))[0] == 401
        assert (await post(session, url, {"query": "x"}, headers={"x-api-key": "guess"}))[0] == 401
        assert (await post(session, url, {"query": "x"}, headers={"authorization": "Bearer s3cret"}))[
            0
        ] == 200
        assert (await get(session, f"{url}/ready"))[0] == 200
        async with session.get(f"{url}/metrics") as response:
            assert "s3cret" not in await response.text()
    captured = capfd.readouterr()
    assert "s3cret" not in caplog.text + captured.out + captured.err


async def test_cors_is_off() -> None:
    async with served(*batch(FakePipeline())) as (url, _), aiohttp.ClientSession() as session:
        headers = {"origin": "http://elsewhere", "access-control-request-method": "POST"}
        async with session.options(f"{url}/rag", headers=headers) as response:
            assert response.status == 405
        _, _, answered = await post(session, url, {"query": "x"}, headers={"origin": "http://elsewhere"})
        assert not [name for name in answered if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/metrics", "/stats", "/openapi.json"])
async def test_head_says_what_get_would(path: str) -> None:
    async with served(*batch(FakePipeline())) as (url, _), aiohttp.ClientSession() as session:
        async with session.get(url + path) as got:
            await got.read()
        async with session.head(url + path) as head:
            assert (head.status, head.content_type) == (200, got.content_type)
            assert await head.read() == b""
            assert int(head.headers["content-length"]) > 0
        async with session.head(f"{url}/rag") as response:
            assert response.status == 405


async def test_stats_while_loading() -> None:
    loading = threading.Event()

    class Slow(FakePipeline):
        def load(self) -> None:
            loading.wait(30)

        def describe(self) -> dict[str, float | int | str | bool | None]:
            if not loading.is_set():
                raise RuntimeError("nothing is loaded yet")
            return super().describe()

    service, _ = batch(Slow())
    starting = asyncio.create_task(service.start())
    await asyncio.sleep(0)
    stats = await service.stats()
    assert (stats["state"], stats["pipeline"]) == ("loading", {})
    loading.set()
    await starting
    assert (await service.stats())["pipeline"]["generator.name"] == "fake"
    await service.close(drained=True)


ODD = [
    (b"<html>down</html>", 502, "text/html", 502),
    (b"", 503, "application/octet-stream", 503),
    (b'["x"]', 502, "application/json", 502),
    (b"<html>welcome</html>", 200, "text/html", 502),
    (b'{"x": 1}', 200, "application/json", 502),
    (b"[" * 100_000, 200, "application/json", 502),
    (b'{"detail": "\\ud800"}', 500, "application/json", 500),
    (b'{"detail": NaN}', 500, "application/json", 500),
]


@pytest.mark.parametrize(("sent", "status", "kind", "reported"), ODD)
async def test_an_answer_that_is_none_keeps_its_type_and_makes_a_job_fail(
    sent: bytes, status: int, kind: str, reported: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def odd(_: Request) -> Answer:
        return Answer(sent, status, "stranger", None, kind)

    service, chosen = batch(FakePipeline())
    async with served(service, chosen) as (url, _), aiohttp.ClientSession() as session:
        monkeypatch.setattr(service, "answer", odd)
        async with session.post(f"{url}/rag", json={"query": "q"}) as response:
            assert (response.status, response.headers["content-type"]) == (status, kind)
            assert await response.read() == sent
        _, job, _ = await post(session, url, {"query": "q"}, "/rag/jobs")
        found, body = await get(session, f"{url}/rag/jobs/{job['id']}")
    assert (found, body["status"]) == (200, "failed")
    assert body["error"] == {
        "status": reported,
        "detail": f"stranger answered {status} with {kind}, which is not what this service answers",
    }
