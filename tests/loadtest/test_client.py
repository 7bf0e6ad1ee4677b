from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from service_double import Double, Handler, good, serving

from mlsys.loadtest import client as client_module
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


async def sent(client: Client, row: Row | None = None) -> Row:
    row = row or Row(0, 0)
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


def test_a_key_goes_as_a_bearer_or_alone_under_another_name() -> None:
    assert client_module.bearer("k") == client_module.bearer("k", "Authorization")
    assert client_module.bearer("k") == {"Authorization": "Bearer k"}
    assert client_module.bearer("k", "X-API-Key") == {"X-API-Key": "k"}
    assert client_module.bearer(None, "X-API-Key") == {}


async def test_an_answer_is_asked_for_in_a_length_and_must_have_it() -> None:
    double = Double(good)
    async with serving(double) as url, Client(url, {}, 5, 10.0, 8) as client:
        rows = [await sent(client, Row(0, 0, max_tokens=tokens)) for tokens in (32, 31)]
    assert double.asked[1] == {"query": "Why?", "k": 5, "max_tokens": 31, "exact_tokens": True}
    assert [row.outcome for row in rows] == [OK, FAILED]
    assert rows[1].error == "the answer has 32 tokens instead of 31"


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
        async with asyncio.timeout(300):
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


async def test_a_redirect_is_not_followed_and_the_key_stays() -> None:
    other = Double(good)
    async with serving(other, {"closed": {}}) as elsewhere:

        async def away(_: Any) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": f"{elsewhere}/stats"})

        row, _ = await ask(away, headers={"Authorization": "Bearer secret"})
    assert (row.outcome, row.error) == (FAILED, "status 302: a redirect is not followed")
    assert other.keys == []


async def test_what_the_service_sets_as_a_cookie_is_not_sent_back() -> None:
    seen: list[dict[str, str]] = []

    class Sticky(Double):
        async def rag(self, request: web.Request) -> web.StreamResponse:
            seen.append(dict(request.cookies))
            response = await super().rag(request)
            response.set_cookie("replica", "1")
            return response

    async with serving(Sticky(good)) as url, Client(url, {}, 2, 5.0, None) as client:
        assert [(await sent(client)).outcome for _ in range(2)] == [OK, OK]
    assert seen == [{}, {}]


@asynccontextmanager
async def raw(*answers: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """A service whose connections each answer one request after another with `answers`, then close.

    Gives its address and how many requests each connection took.
    """
    taken: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(0)
        place = len(taken) - 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readuntil(b"}")
                taken[place] += 1
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", taken


def whole(body: bytes = b'{"query": "Why?", "result": "x"}') -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def test_a_kept_connection_that_breaks_before_a_byte_is_replaced_once() -> None:
    async with raw(whole(), b"") as (url, taken), Client(url, {}, 2, 5.0, None) as client:
        rows = [await sent(client) for _ in range(2)]
    assert [(row.outcome, row.resent) for row in rows] == [(OK, False), (OK, True)]
    assert taken == [2, 1]


async def test_a_new_connection_that_breaks_is_a_failure() -> None:
    async with raw(b"") as (url, taken), Client(url, {}, 2, 5.0, None) as client:
        row = await sent(client)
    assert (row.outcome, row.resent, taken) == (FAILED, False, [1])


async def test_an_answer_that_had_begun_is_not_asked_for_again() -> None:
    async with (
        raw(whole(), b"HTTP/1.1 200 OK\r\nContent-Le") as (url, taken),
        Client(url, {}, 2, 5, None) as client,
    ):
        rows = [await sent(client) for _ in range(2)]
    assert [(row.outcome, row.resent) for row in rows] == [(OK, False), (FAILED, False)]
    assert taken == [2]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (17 << 20),
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"\x1b[2J\r\n\r\n",
        whole(b"[" * 100_000),
    ],
)
async def test_what_is_no_answer_fails_one_request_in_one_printable_line(answer: bytes) -> None:
    async with raw(answer) as (url, _), Client(url, {}, 2, 5.0, None) as client:
        row = await sent(client)
    assert row.outcome == FAILED
    assert row.error is not None
    assert row.error.isprintable()
    assert len(row.error) <= 300


async def test_connections_leave_the_process_the_descriptors_that_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "descriptors", lambda: client_module.OWN_DESCRIPTORS + 2)

    async def slow(question: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return await good(question)

    async with serving(Double(slow)) as url, Client(url, {}, 2, 5.0, None) as client:
        rows = await asyncio.gather(*(sent(client) for _ in range(5)))
        assert (await sent(client)).outcome == OK
    assert [row.outcome for row in rows] == [OK] * 2 + [FAILED] * 3
    assert rows[-1].error == "OSError: [Errno 24] Too many open files"


async def test_a_body_that_drips_ends_with_the_requests_time() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    async with raw(head, b"") as (url, _), Client(url, {}, 2, 0.2, None) as client:
        row = await sent(client)
    assert (row.outcome, row.error) == (TIMED_OUT, "no answer within 0.2 s")
