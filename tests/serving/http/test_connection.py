"""Raw bytes over real sockets: heads and requests without an end, upgrades, early answers, too many clients."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sections import made
from serving_doubles import FakePipeline, Gate, served

from mlsys.serving.http import connection
from mlsys.serving.scheduler import Scheduler

QUESTION = b'{"query": "who?"}'
POST = b"POST /rag HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
READY = b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n"
UPGRADE = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"

Connect = Callable[..., Awaitable["Talk"]]


def whole(body: bytes = QUESTION, extra: bytes = b"") -> bytes:
    return POST + extra + b"content-length: %d\r\n\r\n" % len(body) + body


class Talk:
    """One client: sends what it likes, reads answers one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_until_cut_off(self, data: bytes, pause_s: float = 0) -> bool:
        """Again and again; returns once the other side has closed."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.send(data)
                await asyncio.sleep(pause_s)
        return self.writer.is_closing()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body of the next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1]), headers, json.loads(body)

    async def status(self) -> int | None:
        """The status of the next answer; None where the connection ended."""
        try:
            return (await self.answer())[0]
        except (asyncio.IncompleteReadError, ConnectionError):
            return None


@asynccontextmanager
async def serving(pipeline: FakePipeline | None = None, **knobs: Any) -> AsyncIterator[Connect]:
    """`await connect()` gives a Talk to a batch server."""
    chosen = made("server/batch", **knobs)
    service = Scheduler(chosen, [pipeline or FakePipeline()], made("batching/hybrid", max_size=8))
    writers: list[asyncio.StreamWriter] = []

    async def connect(receive_buffer: int | None = None) -> Talk:
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", int(url.rsplit(":", 1)[1])))
        reader, writer = await asyncio.open_connection(sock=client)
        writers.append(writer)
        return Talk(reader, writer)

    async with served(service, chosen) as (url, _), asyncio.timeout(300):
        try:
            yield connect
        finally:
            for writer in writers:
                writer.close()


ENDLESS = {
    "one line": (b"GET /ready HTTP/1.1\r\na: ", b"b" * 65536),
    "many lines": (b"GET /ready HTTP/1.1\r\n", b"a:\r\n" * 16384),
    "the path": (b"GET /", b"x" * 65536),
    "empty lines": (b"", b"\r\n" * 32768),
    "trailers": (POST + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"a:\r\n" * 16384),
    "a chunk's frame": (POST + b"transfer-encoding: chunked\r\n\r\n1;", b"x" * 65536),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_head_without_an_end_gets_431(kind: str) -> None:
    begin, more = ENDLESS[kind]
    async with serving() as connect:
        talk = await connect()
        await talk.send(begin + more)
        await talk.send(more)
        status, headers, body = await talk.answer()
        assert (status, headers["connection"]) == (431, "close")
        assert body == {"detail": "the head of the request is larger than 65536 bytes"}
        assert await talk.status() is None


@pytest.mark.parametrize(("size", "status"), [(60_000, 200), (70_000, 431), (1_000_000, 431)])
async def test_a_complete_head_is_measured_too(size: int, status: int) -> None:
    async with serving() as connect:
        talk = await connect()
        await talk.send(b"GET /ready HTTP/1.1\r\nhost: x\r\na: " + b"b" * size + b"\r\n\r\n")
        assert await talk.status() == status


async def test_a_head_that_goes_on_for_ever_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_BYTES", 1 << 20)
    async with serving() as connect:
        talk = await connect()
        await talk.send(b"GET /ready HTTP/1.1\r\n")
        assert await talk.send_until_cut_off(b"a:\r\n" * 16384)


async def test_small_chunks_are_no_large_head() -> None:
    async with serving() as connect:
        talk = await connect()
        body = b'{"query": "who?"' + b" " * 20_000 + b"}"
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        await talk.send(POST + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\na: trailer\r\n\r\n")
        assert await talk.status() == 200
        await talk.send(READY)
        assert await talk.status() == 200


async def test_a_trailer_is_no_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSYS_TEST_KEY", "s3cret")
    async with serving(api_key="env:MLSYS_TEST_KEY") as connect:
        talk = await connect()
        body = b"11\r\n" + QUESTION + b"\r\n0\r\nx-api-key: s3cret\r\n\r\n"
        await talk.send(POST + b"transfer-encoding: chunked\r\n\r\n" + body)
        assert await talk.status() == 401


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"", None), (b"\r\n", None), (b"GET /rea", 408), (POST + b"content-length: 50\r\n\r\n{", 408)],
    ids=["nothing", "an empty line", "half a head", "half a body"],
)
async def test_a_request_that_does_not_end_is_given_up(sent: bytes, status: int | None) -> None:
    async with serving(receive_timeout_s=0.1) as connect:
        talk = await connect()
        await talk.send(sent)
        assert await talk.status() == status
        assert await talk.status() is None


async def test_a_byte_now_and_then_is_no_way_around() -> None:
    async with serving(receive_timeout_s=0.2) as connect:
        talk = await connect()
        await talk.send(READY)
        assert await talk.status() == 200

        async def trickle() -> None:
            for byte in b"GET /ready HTTP/1.1\r\na: " + b"b" * 10_000:
                await talk.send(bytes([byte]))
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert await talk.status() == 408
        trickling.cancel()


async def test_what_has_arrived_may_take_its_time() -> None:
    gate = Gate()
    pipeline = FakePipeline()
    async with serving(pipeline, receive_timeout_s=0.05) as connect:
        pipeline.hooks["embed"] = gate
        talk = await connect()
        await talk.send(whole())
        await gate.reached()
        await asyncio.sleep(0.2)
        gate.opened.set()
        assert await talk.status() == 200
        await asyncio.sleep(0.2)
        await talk.send(READY)
        assert await talk.status() == 200, "an idle connection is kept for uvicorn's 75 s"


async def test_who_does_not_read_its_answers_is_cut_off() -> None:
    async with serving(receive_timeout_s=0.1) as connect:
        talk = await connect(receive_buffer=4096)
        assert await talk.send_until_cut_off(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n")


async def test_silent_clients_lock_nobody_out() -> None:
    async with serving(max_connections=8) as connect:
        silent = [await connect() for _ in range(8)]
        for _ in range(5):
            talk = await connect()
            await talk.send(READY)
            assert await talk.status() == 200
        assert await silent[0].status() == 503, "the oldest has made room"
        assert await silent[0].status() is None
        await silent[-1].send(READY)
        assert await silent[-1].status() == 200


async def test_who_is_served_does_not_make_room() -> None:
    gate, pipeline = Gate(), FakePipeline()
    async with serving(pipeline, max_connections=2) as connect:
        pipeline.hooks["embed"] = gate
        served_ones = [await connect() for _ in range(2)]
        for talk in served_ones:
            await talk.send(whole())
        await gate.reached()
        while await (await connect()).status() != 503:
            pass
        gate.opened.set()
        assert [await talk.status() for talk in served_ones] == [200, 200]


@pytest.mark.parametrize("scheme", [b"h2c", b"websocket", b"h2c, websocket"])
async def test_an_offer_to_upgrade_is_ignored(scheme: bytes) -> None:
    async with serving() as connect:
        talk = await connect()
        for _ in range(2):
            await talk.send(whole(extra=UPGRADE.replace(b"h2c", scheme)) + READY)
            assert [await talk.status(), await talk.status()] == [200, 200]
        await talk.send(POST + UPGRADE + b"transfer-encoding: chunked\r\n\r\n")
        await talk.send(b"11\r\n" + QUESTION + b"\r\n0\r\n\r\n")
        assert await talk.status() == 200
        await talk.send(READY.replace(b"\r\n\r\n", b"\r\n" + UPGRADE + b"\r\n"))
        assert await talk.status() == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /ready HTTP/1.1\r\nna me: x\r\n\r\n",
        b"GET /ready HTTP/1.1\r\nn\xc3\xa4me: x\r\n\r\n",
        b"GET /ready HTTP/1.1\r\n: x\r\n\r\n",
        b"GET /ready HTTP/1.1\r\na: x\r\n b\r\n\r\n",
        POST
        + b"content-length: 17\r\ntransfer-encoding: chunked\r\n\r\n11\r\n"
        + QUESTION
        + b"\r\n0\r\n\r\n",
        POST + b"content-length: 17\r\ncontent-length: 18\r\n\r\n" + QUESTION,
        POST + b"content-length: +17\r\n\r\n" + QUESTION,
        POST + b"content-length: 99999999999999999999999\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /ready HTTP/9.9\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_400_and_an_end(request_bytes: bytes) -> None:
    async with serving() as connect:
        talk = await connect()
        await talk.send(request_bytes)
        status, headers, body = await talk.answer()
        assert (status, headers["connection"]) == (400, "close")
        assert "detail" in body
        assert await talk.status() is None


async def test_pipelined_requests_are_answered_in_order_and_before_the_fault() -> None:
    async with serving() as connect:
        talk = await connect()
        await talk.send(whole(b'{"query": "1"}') + whole(b'{"query": "2"}') + READY)
        first, second, third = [await talk.answer() for _ in range(3)]
        assert (first[2]["query"], second[2]["query"], third[2]["status"]) == ("1", "2", "ready")
        await talk.send(whole(b'{"query": "3"}') + b"no http at all\r\n\r\n")
        assert (await talk.answer())[2]["query"] == "3"
        assert await talk.status() is None


@pytest.mark.parametrize("at_once", [True, False])
async def test_who_leaves_frees_its_place_whatever_it_had_asked_behind(
    at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    gate, pipeline = Gate(), FakePipeline()
    async with serving(pipeline) as connect:
        pipeline.hooks["generate"] = gate
        talk, watcher = await connect(), await connect()
        behind = whole(b'{"query": "later"}') * 2
        await talk.send(whole(b'{"query": "first"}') + (behind if at_once else b""))
        await gate.reached()
        await talk.send(b"" if at_once else behind)
        talk.writer.close()

        async def in_flight() -> int:
            await watcher.send(b"GET /stats HTTP/1.1\r\nhost: x\r\n\r\n")
            return int((await watcher.answer())[2]["in_flight"])

        while await in_flight():
            await asyncio.sleep(0.005)
        gate.opened.set()
        await watcher.send(whole())
        assert await watcher.status() == 200
        assert ["later"] not in pipeline.batches("embed")
    assert not caplog.records, "nothing was written to a closed connection"


async def test_half_a_body_does_not_hold_up_a_server_that_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 0.05)
    async with serving() as connect:
        watcher = await connect()
        talk = Talk(*await asyncio.open_connection(*watcher.writer.get_extra_info("peername")))
        await talk.send(whole()[:-5])
        await watcher.send(READY)
        assert await watcher.status() == 200, "so the half has arrived"
    status, headers, body = await talk.answer()
    assert (status, headers["connection"], body) == (503, "close", {"detail": "the service ends"})
    assert not caplog.records, "no request was cancelled"
    talk.writer.close()


@pytest.mark.parametrize("size", [100_000, 8_000_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_client_that_writes_before_it_reads_gets_its_413(size: int, chunked: bool) -> None:
    async with serving() as connect:
        talk = await connect()
        frame = b"transfer-encoding: chunked\r\n\r\n%x\r\n" if chunked else b"content-length: %d\r\n\r\n"
        await talk.send(POST + frame % size + b"x" * size)
        status, headers, body = await talk.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert body["detail"].startswith("body: larger than")
        assert await talk.status() is None


async def test_a_body_without_an_end_is_cut_off_some_time_after_its_413(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "LINGER_BYTES", 1 << 20)
    async with serving() as connect:
        talk = await connect()
        await talk.send(POST + b"content-length: 1000000000000\r\n\r\n")
        assert await talk.status() == 413
        assert await talk.send_until_cut_off(b"x" * 65536)


async def test_a_client_that_was_told_413_and_stays_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 0.05)
    async with serving() as connect:
        talk = await connect()
        await talk.send(POST + b"content-length: 1000000\r\n\r\nx")
        assert await talk.status() == 413
        assert await talk.send_until_cut_off(b"x", 0.02)


async def test_a_body_that_was_announced_and_refused_is_not_waited_for() -> None:
    async with serving() as connect:
        talk = await connect()
        await talk.send(b"POST /nowhere HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        assert await talk.status() == 404
        assert await talk.status() is None, "what came next would be taken for the body"


async def test_a_body_that_was_announced_and_wanted_is_asked_for() -> None:
    async with serving() as connect:
        talk = await connect()
        await talk.send(POST + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(QUESTION))
        assert await talk.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await talk.send(QUESTION)
        assert await talk.status() == 200
