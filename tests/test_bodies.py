"""Bodies with and without an end, over a real socket."""

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from mlsys import bodies

LIMIT = 1 << 16


@asynccontextmanager
async def sending(
    head: bytes, chunk: bytes, times: int
) -> AsyncIterator[tuple[aiohttp.ClientResponse, asyncio.Event]]:
    """A GET of a service that answers `head`, then `chunk` so many times or until the client goes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        try:
            for _ in range(times):
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            gone.set()
        writer.close()

    gone = asyncio.Event()
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        aiohttp.ClientSession() as session,
        asyncio.timeout(20),
        session.get(f"http://127.0.0.1:{port}/") as response,
    ):
        yield response, gone


ENDLESS = 10**9
PLAIN = b"HTTP/1.1 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(("head", "chunk"), [(PLAIN, b"x" * 4096), (CHUNKED, b"4\r\nabcd\r\n" * 1000)])
async def test_a_body_without_an_end_is_given_up_and_its_sender_cut_off(head: bytes, chunk: bytes) -> None:
    async with sending(head, chunk, ENDLESS) as (response, gone):
        with pytest.raises(bodies.TooLarge, match="larger than 65536 bytes"):
            await bodies.read(response, LIMIT)
        await gone.wait()


async def test_a_stated_length_is_refused_unread() -> None:
    async with sending(b"HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n", b"", 0) as (response, _):
        with pytest.raises(bodies.TooLarge):
            await bodies.read(response, LIMIT)


async def test_a_body_of_just_the_bound_is_read() -> None:
    async with sending(b"HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n", b"x" * LIMIT, 1) as (response, _):
        assert await bodies.read(response, LIMIT) == b"x" * LIMIT


async def test_what_is_counted_is_the_unpacked_body() -> None:
    packed = gzip.compress(b"0" * (32 << 20))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    async with sending(head, packed, 1) as (response, _):
        tracemalloc.start()
        with pytest.raises(bodies.TooLarge):
            await bodies.read(response, LIMIT)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20


async def test_a_body_that_breaks_off_is_an_error() -> None:
    async with sending(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"x", 1) as (response, _):
        with pytest.raises(aiohttp.ClientPayloadError):
            await bodies.read(response, LIMIT)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting|decode|deep|digits"):
        bodies.parse(content)
