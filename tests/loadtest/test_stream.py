"""Streams over real sockets: good ones in any chunks, and services that stop, stall, repeat, lie or never end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from types import NoneType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_double import Double, good, serving
from turned_clock import Clock

from mlsys import bodies
from mlsys.events import Events
from mlsys.loadtest import stream
from mlsys.loadtest.client import Client
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FAILED, OK, REJECTED, TIMED_OUT, Row

QUESTION = Question(3, "Why?", 7)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n"
Part = bytes | float


def event(name: str, **content: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n".encode()


def text(piece: str, tokens: int = 1) -> bytes:
    return event("text", text=piece, tokens=tokens)


def done(result: str, tokens: int, **more: Any) -> bytes:
    return event("done", query="Why?", result=result, tokens=tokens, batch_size=1, **more)


PASSAGES = event("passages", request_id="x", passages=[{"id": 7}])
WHOLE: list[Part] = [PASSAGES, 0.05, text("Be"), 0.1, text("ca", 2), 0.1, text("use"), done("Because", 4)]


Silence = Callable[[float], Awaitable[None]]


@asynccontextmanager
async def streaming(
    parts: Iterable[Part], head: bytes = HEAD, silence: Silence = asyncio.sleep
) -> AsyncIterator[str]:
    """A service that answers each connection with the parts: bytes are sent, numbers are seconds of silence."""

    tasks = set[asyncio.Task[None]]()

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"}")
            writer.write(head)
            for part in parts:
                if isinstance(part, bytes):
                    writer.write(part)
                    await writer.drain()
                else:
                    await silence(part)
        finally:
            writer.close()

    def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(send(reader, writer)))

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, (NoneType, ConnectionError, asyncio.CancelledError))


async def asked(
    parts: Iterable[Part],
    *,
    head: bytes = HEAD,
    stall_s: float = 5.0,
    timeout_s: float = 10.0,
    tokens: int | None = None,
) -> Row:
    async with streaming(parts, head) as url, Client(url, {}, 2, timeout_s, tokens, stall_s) as client:
        return await sent(client)


async def sent(client: Client, clock: Callable[[], float] | None = None) -> Row:
    row, started = Row(0, 0), time.perf_counter()
    await client.ask(row, QUESTION, clock or (lambda: time.perf_counter() - started))
    return row


async def test_a_stream_is_stamped_piece_by_piece_and_judged_as_a_whole_answer_is() -> None:
    clock = Clock()

    async def passes(seconds: float) -> None:
        for _ in range(20):  # what was sent is read by then, in this same event loop
            await asyncio.sleep(0.001)
        clock.now += seconds

    async with streaming(WHOLE, silence=passes) as url, Client(url, {}, 2, 10.0, 4, 5.0) as client:
        row = await sent(client, clock)
    assert (row.outcome, row.error, row.tokens, row.hit) == (OK, None, 4, True)
    assert (row.first_byte_s, row.first_text_s) == (0.0, 0.05)
    assert row.itl_ms == pytest.approx([100, 100])
    assert row.done_s == pytest.approx(0.25)
    assert row.tpot_ms == pytest.approx((row.e2e_ms - float(row.ttft_ms or 0)) / 3)


async def test_the_length_of_a_stream_is_checked_as_that_of_an_answer() -> None:
    row = await asked(WHOLE, tokens=5)
    assert (row.outcome, row.error) == (FAILED, "the answer has 4 tokens instead of 5")


async def test_a_stream_is_asked_for_and_an_answer_that_comes_whole_is_taken() -> None:
    double = Double(good)
    async with serving(double) as url, Client(url, {}, 2, 5.0, 32, 1.0) as client:
        row = await sent(client)
    assert double.asked == [{"query": "Why?", "k": 2, "stream": True}]
    assert row.outcome == OK
    assert row.ttft_ms == row.e2e_ms
    assert (row.itl_ms, row.tpot_ms) == (None, None)


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([PASSAGES, text("Be"), text("ca", 2)], "the stream ended early, after 3 tokens"),
        ([], "the stream ended early, after 0 tokens"),
        ([PASSAGES, text("Because"), done("Because", 1)[:-1]], "the stream ended early, after 1 tokens"),
        (
            [text("Be"), text("Be"), text("cause"), done("Because", 3)],
            "the stream's pieces do not make up its result: something was lost, or sent twice",
        ),
        (
            [text("Be"), text("cause", 7), done("Because", 3)],
            "the stream's pieces have 8 tokens, its end says another number",
        ),
        ([*WHOLE, text("!")], "the stream goes on after its end"),
        ([*WHOLE, done("Because", 4)], "the stream goes on after its end"),
        ([PASSAGES, *WHOLE], "the stream's passages do not come first, and once"),
        ([text("a"), PASSAGES], "the stream's passages do not come first, and once"),
        ([event("text", text=3)], "an event of the stream: text: Input should be a valid string"),
        (
            [b"event: text\ndata: nothing\n\n"],
            "an event of the stream: Invalid JSON: expected ident at line 1 column 2",
        ),
        ([b"event: done\ndata: []\n\n"], "an event of the stream is no JSON object"),
        ([b"event: t\xff\ndata: {}\n\n"], "the stream is no UTF-8"),
        ([done("", 0)], "the answer has no result"),
        ([event("done", query="What?", result="")], "the answer is to another query"),
        (
            [event("error", status=200)],
            "an event of the stream: status: Input should be greater than or equal to 400",
        ),
    ],
)
async def test_what_is_no_stream_fails_with_its_reason(parts: list[Part], error: str) -> None:
    row = await asked(parts)
    assert (row.outcome, row.error) == (FAILED, error)


@pytest.mark.parametrize(
    "data", [b'{"text": "\xe2\x82"}', b'{"text": "\\ud83d"}'], ids=["bytes of a character", "half of a pair"]
)
async def test_a_piece_that_ends_within_a_character_is_a_failure(data: bytes) -> None:
    row = await asked([b"event: text\ndata: " + data + b"\n\n", done("x", 1)])
    assert row.outcome == FAILED
    assert str(row.error).startswith("an event of the stream: Invalid JSON: ")


@pytest.mark.parametrize(
    ("status", "outcome"), [(429, REJECTED), (503, REJECTED), (504, TIMED_OUT), (500, FAILED)]
)
async def test_an_error_that_ends_a_stream_counts_as_the_status_it_names(status: int, outcome: str) -> None:
    row = await asked([PASSAGES, text("Be"), event("error", status=status, detail="full")])
    assert (row.outcome, row.status, row.error) == (outcome, status, f"status {status}")


async def test_a_stream_that_stalls_is_given_up() -> None:
    row = await asked([PASSAGES, text("Be"), 600.0, text("cause"), done("Because", 2)], stall_s=0.2)
    assert (row.outcome, row.error) == (FAILED, "the stream stalled: nothing for 0.2 s, after 1 tokens")


async def test_comments_and_empty_pieces_are_no_sign_of_life() -> None:
    drip: list[Part] = [part for _ in range(40) for part in (b": still there\n\n", text("", 0), 0.05)]
    row = await asked([text("Be"), *drip], stall_s=0.3)
    assert row.error == "the stream stalled: nothing for 0.3 s, after 1 tokens"


async def test_waiting_for_the_first_text_is_no_stall_but_has_the_requests_time() -> None:
    row = await asked([PASSAGES, 0.4, text("x"), done("x", 1)], stall_s=0.1)
    assert row.outcome == OK
    row = await asked([PASSAGES, 5.0], stall_s=0.1, timeout_s=0.3)
    assert (row.outcome, row.error) == (TIMED_OUT, "no answer within 0.3 s")


async def test_a_stream_that_is_not_closed_after_its_end_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "END_S", 0.2)
    row = await asked([text("x"), done("x", 1), 5.0])
    assert (row.outcome, row.error) == (FAILED, "the stream was not closed after its end, after 1 tokens")


async def test_a_connection_that_breaks_within_a_stream_is_told_with_what_had_come() -> None:
    head = HEAD.replace(b"Connection: close", b"Transfer-Encoding: chunked")
    piece = text("Be")
    row = await asked([b"%x\r\n%s\r\n" % (len(piece), piece), 0.1], head=head)
    assert (row.outcome, row.error) == (FAILED, "the stream broke off after 1 tokens: ClientPayloadError")


@pytest.mark.parametrize("part", [text("x" * 100_000), b"x" * 100_000, b"data: x\n" * 10_000])
async def test_a_stream_without_end_costs_its_request_and_not_this_process(
    part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MAX_BYTES", 1 << 20)
    row = await asked([part] * 30)
    assert (row.outcome, row.error) == (FAILED, "TooLarge: the stream is larger than 1048576 bytes")


async def test_the_pieces_of_a_stream_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_PIECES", 50)
    row = await asked([text("x") * 51, done("x" * 51, 51)])
    assert row.error == "the stream has more than 50 pieces"


@given(st.lists(st.integers(1, 40), max_size=200), st.sampled_from([b"\n", b"\r\n"]))
def test_events_do_not_depend_on_the_chunks_that_bytes_come_in(cuts: list[int], line_end: bytes) -> None:
    lines = [
        b": hello",
        b"",
        b"event: text",
        b"data: {}",
        b"",
        b"id: 4",
        b"data: a",
        b"data:b",
        b"",
        b"data",
        b"event",
    ]
    whole = line_end.join(lines) + line_end
    events, found = Events(), list[tuple[str, bytes]]()
    for size in [*cuts, len(whole)]:
        found += events.feed(whole[:size])
        whole = whole[size:]
    assert found == [("text", b"{}"), ("", b"a\nb")]


def test_a_line_that_comes_byte_by_byte_is_put_together_once() -> None:
    events, started = Events(), time.perf_counter()
    for _ in range(300_000):
        assert list(events.feed(b"x")) == []
    assert time.perf_counter() - started < 30  # 0.2 s; joined at each byte it would be minutes
