from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from aiohttp import web
from loadtest.double import Double, Handler, good, serving

from mlsys.loadtest.client import Client
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FAILED, OK, REJECTED, TIMED_OUT, Row

QUESTION = Question(3, "Why?", 0)


async def ask(
    handler: Handler, timeout_s: float = 10.0, headers: dict[str, str] | None = None
) -> tuple[Row, Double]:
    double = Double(handler)
    async with serving(double) as url, Client(url + "/", headers or {}, 5, timeout_s, 32) as client:
        return await sent(client), double


async def sent(client: Client) -> Row:
    row = Row(0, 0)
    started = time.perf_counter()
    await client.ask(row, QUESTION, lambda: time.perf_counter() - started)
    return row


async def test_a_question_is_sent_and_its_answer_stamped_and_judged() -> None:
    row, double = await ask(good, headers={"Authorization": "Bearer secret"})
    assert double.asked == [{"query": "Why?", "k": 5}]
    assert double.keys == ["Bearer secret"]
    assert (row.outcome, row.status, row.hit, row.error) == (OK, 200, True, None)
    assert row.first_byte_s is not None
    assert 0 < row.first_byte_s <= row.done_s


async def test_a_refusal_keeps_its_retry_after() -> None:
    async def full(_: Any) -> web.StreamResponse:
        return web.json_response({"detail": "full"}, status=429, headers={"Retry-After": "7"})

    row, _ = await ask(full)
    assert (row.outcome, row.status, row.retry_after_s) == (REJECTED, 429, 7.0)


async def test_a_date_as_retry_after_is_still_a_refusal() -> None:
    async def later(_: Any) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})

    row, _ = await ask(later)
    assert (row.outcome, row.retry_after_s) == (REJECTED, None)


async def test_no_answer_in_time_is_a_time_out_and_the_service_is_told() -> None:
    async def hang(_: Any) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    double = Double(hang)
    async with serving(double) as url, Client(url, {}, 2, 0.1, None) as client:
        row = await sent(client)
        async with asyncio.timeout(10):
            while not double.dropped:
                await asyncio.sleep(0.01)
    assert (row.outcome, row.error, row.status) == (TIMED_OUT, "no answer within 0.1 s", None)


async def test_a_body_that_is_no_json_is_a_failure() -> None:
    async def html(_: Any) -> web.StreamResponse:
        return web.Response(text="<html>")

    row, _ = await ask(html)
    assert (row.outcome, row.status) == (FAILED, 200)
    assert row.error is not None
    assert row.error.startswith("JSONDecodeError")


async def test_a_connection_that_breaks_is_a_failure() -> None:
    async def broken(_: Any) -> web.StreamResponse:
        raise ConnectionResetError

    row, _ = await ask(broken)
    assert row.outcome == FAILED


async def test_nobody_there_is_a_failure() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with Client(f"http://127.0.0.1:{port}", {}, 2, 5.0, None) as client:
        row = await sent(client)
        assert await client.get("/stats") is None
    assert row.outcome == FAILED
    assert "Connect" in str(row.error)


@pytest.mark.parametrize("stats", [{"closed": {"full": 3}}, None])
async def test_what_a_service_counts_is_read_where_it_has_it(stats: dict[str, Any] | None) -> None:
    async with serving(Double(good), stats) as url, Client(url, {}, 2, 5.0, None) as client:
        assert await client.get("/stats") == stats
