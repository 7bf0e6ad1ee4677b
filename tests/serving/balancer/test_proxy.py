"""Against replicas that misbehave on purpose, over real sockets: who is asked, and counts that return to
zero.
"""

import asyncio
import contextlib
import errno
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from sections import made
from serving_doubles import eventually

from mlsys.serving.balancer import relay
from mlsys.serving.balancer.backend import Backend, Backends
from mlsys.serving.balancer.budget import RetryBudget
from mlsys.serving.balancer.calls import HttpCalls
from mlsys.serving.balancer.proxy import Proxy
from mlsys.serving.balancer.round_robin import RoundRobin
from mlsys.serving.request import BadGateway, Request, Unavailable
from mlsys.serving.stream import Stream

OPTIONS = made("server/lb")
Mood = int | str | web.Response | None


def abort(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()


class Replica:
    """Answers as its `mood` says; `asked` are the bodies it got."""

    def __init__(self, mood: Mood) -> None:
        self.mood, self.release = mood, asyncio.Event()
        self.asked: list[dict[str, Any]] = []
        self.cookies: list[dict[str, str]] = []
        self.seen: set[asyncio.BaseTransport | None] = set()

    async def rag(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.cookies.append(dict(request.cookies))
        if isinstance(self.mood, int):
            return web.json_response({"by": id(self)}, status=self.mood, headers={"retry-after": "7"})
        if isinstance(self.mood, str) and self.mood.startswith("stream"):
            return await self.stream(request)
        if isinstance(self.mood, web.Response):
            return web.Response(
                body=self.mood.body, status=self.mood.status, headers=self.mood.headers.copy()
            )
        if self.mood == "endless":
            response = web.StreamResponse()
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                while True:
                    await response.write(b"x" * 65536)
        if self.mood == "one each":
            if request.transport in self.seen:
                abort(request)
            self.seen.add(request.transport)
            return web.json_response({"by": id(self)})
        if self.mood == "slow":
            await self.release.wait()
            return web.json_response({"by": id(self)})
        if self.mood == "half":
            response = web.StreamResponse(headers={"content-length": "100"})
            await response.prepare(request)
            await response.write(b"{")
        abort(request)
        return web.Response()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Whole, or broken off in one of several ways after its second event."""
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "x-passages": "4,2"})
        await response.prepare(request)
        if self.mood == "stream refused late":
            abort(request)
            return response
        await response.write(b'event: passages\ndata: {"passages": []}\n\nevent: text\nda')
        await response.write('ta: {"text": "größ"}\n\n'.encode())
        if self.mood == "stream slow":
            await self.release.wait()
        if self.mood == "stream cut":
            await response.write(b"event: text\ndata: {")
            await asyncio.sleep(0.02)
            abort(request)
            return response
        if self.mood == "stream large":
            with contextlib.suppress(ConnectionError):
                while True:
                    await response.write(b"x" * 65536)
        if self.mood != "stream ends early":
            await response.write(b"event: done\ndata: {}\n\n")
        if self.mood == "stream done, then cut":
            await self.release.wait()
            abort(request)
        if self.mood == "stream done, then held":
            await self.release.wait()
        if self.mood == "stream done, then more":
            await response.write(b"event: text\ndata: {}\n\n")
        return response


async def passed_on(stream: Stream) -> list[bytes]:
    stream.end()
    return [event async for event in stream.events() if isinstance(event, bytes)]


def streaming() -> tuple[Request, Stream]:
    stream = Stream()
    return Request("q", 1, stream=stream), stream


@asynccontextmanager
async def balanced(
    *moods: Mood, budget: RetryBudget | None = None, poll_s: float = 0.0, stream_gap_s: float = 60.0
) -> AsyncIterator[tuple[Proxy, list[Backend], list[Replica]]]:
    """A proxy in front of one replica for each mood; `None` is an address where nobody listens."""
    async with AsyncExitStack() as stack:
        replicas, backends = list[Replica](), list[Backend]()
        for number, mood in enumerate(moods):
            replica = Replica(mood)
            app = web.Application()
            app.router.add_post("/rag", replica.rag)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            stack.push_async_callback(runner.cleanup)
            host, port = runner.addresses[0][:2]
            if mood is None:
                await site.stop()
            replicas.append(replica)
            backends.append(Backend(f"replica-{number}", f"http://{host}:{port}", OPTIONS))
        group = Backends(backends, RoundRobin("round_robin"))
        calls = await stack.enter_async_context(HttpCalls(2.0, stream_gap_s))
        proxy = Proxy(group, budget or RetryBudget(0.2, 100), calls, poll_s * 4)
        yield proxy, backends, replicas
        assert [backend.in_flight for backend in backends] == [0] * len(backends), (
            "a count did not return to zero"
        )
        assert not any(backend.attempts for backend in backends)


async def test_an_answer_passes_through() -> None:
    async with balanced(200) as (proxy, backends, replicas):
        answer = await proxy.forward(Request("who?", 3))
        assert (answer.status, answer.replica) == (200, "replica-0")
        assert json.loads(answer.body) == {"by": id(replicas[0])}
        assert replicas[0].asked == [{"query": "who?", "k": 3}]
        assert backends[0].stats()["responses"] == {"200": 1}


async def test_the_deadline_goes_along() -> None:
    async with balanced(200) as (proxy, _, replicas):
        await proxy.forward(Request("who?", 3, timeout_ms=5000))
        assert 0 < replicas[0].asked[0]["timeout_ms"] <= 5000


@pytest.mark.parametrize("mood", [None, "abort", "half"])
async def test_a_broken_connection_is_tried_elsewhere(mood: Mood) -> None:
    async with balanced(mood, 200) as (proxy, backends, _):
        for _ in range(4):
            assert (await proxy.forward(Request("q", 1))).replica == "replica-1"
        assert backends[0].codes["failed"] == proxy.retries > 0


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_replica_is_passed_over(status: int) -> None:
    async with balanced(status, 200) as (proxy, backends, _):
        assert (await proxy.forward(Request("q", 1))).status == 200
        assert not backends[0].health.ejected(0)


async def test_when_all_are_busy_the_client_is_told_so() -> None:
    async with balanced(429, 429) as (proxy, _, replicas):
        answer = await proxy.forward(Request("q", 1))
        assert (answer.status, answer.retry_after) == (429, "7")
        assert [len(replica.asked) for replica in replicas] == [1, 1]


REDIRECT = web.Response(status=302, headers={"location": "/elsewhere"}, text="see there")
EMPTY = web.Response(headers={"content-type": "application/json"})
NO_ANSWERS = [REDIRECT, EMPTY, web.Response(status=204), web.Response(status=304), "endless"]


@pytest.mark.parametrize("mood", NO_ANSWERS)
async def test_what_is_no_answer_is_asked_elsewhere(mood: Mood) -> None:
    async with balanced(mood, 200) as (proxy, backends, replicas):
        for _ in range(10):
            assert (await proxy.forward(Request("q", 1))).replica == "replica-1"
        assert len(replicas[0].asked) == 5
        assert backends[0].stats()["ejected"] is True


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        (REDIRECT, "replica-0 answered 302, which is no answer to a question"),
        (EMPTY, "replica-0 answered 200 with nothing in it"),
        ("endless", "replica-0: the body is larger than 16777216 bytes"),
    ],
)
async def test_what_is_no_answer_and_there_is_no_other_is_a_bad_gateway(mood: Mood, reason: str) -> None:
    async with balanced(mood) as (proxy, _, _):
        with pytest.raises(BadGateway, match=reason):
            await proxy.forward(Request("q", 1))


async def test_the_content_type_is_kept_and_odd_headers_are_not() -> None:
    html = web.Response(status=502, headers={"content-type": "text/html", "retry-after": "\xe4"}, text="<p>")
    async with balanced(html) as (proxy, _, _):
        answer = await proxy.forward(Request("q", 1))
        assert (answer.status, answer.body, answer.content_type) == (502, b"<p>", "text/html; charset=utf-8")
        assert answer.retry_after is None


async def test_no_client_has_the_cookie_of_another() -> None:
    async with balanced(web.Response(body=b"{}", headers={"set-cookie": "who=first"})) as (
        proxy,
        backends,
        replicas,
    ):
        backends[0].url = str(backends[0].url).replace("127.0.0.1", "localhost")  # addresses have no cookies
        for _ in range(2):
            await proxy.forward(Request("q", 1))
        assert replicas[0].cookies == [{}, {}]


async def test_a_kept_connection_that_closed_is_replaced_without_a_mark() -> None:
    async with balanced("one each") as (proxy, backends, replicas):
        for _ in range(12):
            assert (await proxy.forward(Request("q", 1))).status == 200
        assert len(replicas[0].asked) > 12, "some were asked twice"
        assert backends[0].stats()["responses"] == {"200": 12}
        assert proxy.retries == 0
        assert proxy.budget.left == 100


async def test_a_fresh_connection_that_closes_is_a_mark() -> None:
    async with balanced("abort") as (proxy, backends, replicas):
        with pytest.raises(Unavailable):
            await proxy.forward(Request("q", 1))
        assert len(replicas[0].asked) == 1
        assert backends[0].codes["failed"] == 1


async def test_running_out_of_files_is_not_the_replicas_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_files(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async with balanced(200) as (proxy, backends, _):
        monkeypatch.setattr(HttpCalls, "_post", no_files)
        with pytest.raises(Unavailable, match="no open files left"):
            await proxy.forward(Request("q", 1))
        assert not backends[0].codes


async def test_what_waits_on_a_silent_replica_is_asked_elsewhere_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with balanced("slow", 200, poll_s=0.01) as (proxy, backends, replicas):
        waiting = asyncio.create_task(proxy.forward(Request("q", 1)))
        await eventually(lambda: bool(replicas[0].asked))
        monkeypatch.setattr(backends[0].silence, "silent", lambda: True)
        assert (await waiting).replica == "replica-1"
        assert backends[0].health.up
        assert not backends[0].codes, "no mark"
        assert proxy.retries == 1
        for _ in range(4):
            assert (await proxy.forward(Request("q", 1))).replica == "replica-1"
        monkeypatch.setattr(backends[0].silence, "silent", lambda: False)
        replicas[0].release.set()
        assert {(await proxy.forward(Request("q", 1))).replica for _ in range(2)} == {
            "replica-0",
            "replica-1",
        }


async def test_the_silent_one_may_still_be_the_first_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with balanced("slow", "slow", poll_s=0.01) as (proxy, backends, replicas):
        waiting = asyncio.create_task(proxy.forward(Request("q", 1)))
        await eventually(lambda: bool(replicas[0].asked))
        monkeypatch.setattr(backends[0].silence, "silent", lambda: True)
        await eventually(lambda: bool(replicas[1].asked))
        replicas[0].release.set()
        assert (await waiting).replica == "replica-0"
        assert backends[1].in_flight == 0


async def test_a_lone_silent_replica_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with balanced("slow", poll_s=0.01) as (proxy, backends, replicas):
        monkeypatch.setattr(backends[0].silence, "silent", lambda: True)
        waiting = asyncio.create_task(proxy.forward(Request("q", 1)))
        await eventually(lambda: bool(replicas[0].asked))
        await asyncio.sleep(0.05)
        replicas[0].release.set()
        assert (await waiting).replica == "replica-0"
        assert proxy.retries == 0


@pytest.mark.parametrize("status", [422, 500, 504])
async def test_other_answers_are_not_tried_again(status: int) -> None:
    async with balanced(status, 200) as (proxy, _, replicas):
        assert (await proxy.forward(Request("q", 1))).status == status
        assert [len(replica.asked) for replica in replicas] == [1, 0]


async def test_retries_end_with_the_budget() -> None:
    async with balanced(None, 200, budget=RetryBudget(share=0.0, burst=2)) as (proxy, backends, _):
        outcomes: list[int | str] = []
        for _ in range(8):
            try:
                outcomes.append((await proxy.forward(Request("q", 1))).status)
            except Unavailable as error:
                outcomes.append(error.message)
        assert proxy.retries == 2
        assert outcomes.count(200) == 8 - outcomes.count("the connection to 1 replica(s) failed")
        assert "the connection to 1 replica(s) failed" in outcomes
        assert backends[0].in_flight == 0


async def test_busy_replicas_leave_half_of_the_budget_for_deaths() -> None:
    async with balanced(429, 429, budget=RetryBudget(share=0.0, burst=10)) as (proxy, _, _):
        for _ in range(20):
            assert (await proxy.forward(Request("q", 1))).status == 429
        assert proxy.budget.left == 5


async def test_none_up() -> None:
    async with balanced(200) as (proxy, backends, _):
        backends[0].lose()
        with pytest.raises(Unavailable, match="none of 1 replicas is up"):
            await proxy.forward(Request("q", 1))


async def test_ejected_after_five_failures_but_never_the_last() -> None:
    async with balanced(500, 200) as (proxy, backends, replicas):
        for _ in range(30):
            await proxy.forward(Request("q", 1))
        assert len(replicas[0].asked) == 5
        assert backends[0].stats()["ejected"] is True
        backends[1].lose()
        assert (await proxy.forward(Request("q", 1))).status == 500


async def test_what_waits_on_a_lost_replica_goes_elsewhere() -> None:
    async with balanced("slow", 200) as (proxy, backends, replicas):
        waiting = [asyncio.create_task(proxy.forward(Request(f"q{number}", 1))) for number in range(6)]
        await eventually(lambda: len(replicas[0].asked) == 3)
        assert backends[0].in_flight == 3
        backends[0].lose()
        answers = await asyncio.gather(*waiting)
        assert {answer.replica for answer in answers} == {"replica-1"}
        assert len(replicas[1].asked) == 6


async def test_a_client_that_leaves_leaves_no_count() -> None:
    async with balanced("slow") as (proxy, backends, replicas):
        waiting = [asyncio.create_task(proxy.forward(Request("q", 1))) for _ in range(9)]
        await eventually(lambda: len(replicas[0].asked) == 9)
        for task in waiting[::3]:
            task.cancel()
        await asyncio.gather(*waiting[::3], return_exceptions=True)
        assert backends[0].in_flight == 6
        assert backends[0].codes["failed"] == 0, "the client left, the replica did nothing wrong"
        replicas[0].release.set()
        await asyncio.gather(*(task for task in waiting if not task.done()))


async def test_cancelled_before_it_began() -> None:
    async with balanced("slow") as (proxy, backends, _):
        task = asyncio.create_task(proxy.forward(Request("q", 1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert backends[0].in_flight == 0


async def test_a_stream_passes_through_event_by_event() -> None:
    async with balanced("stream slow") as (proxy, backends, replicas):
        request, stream = streaming()
        waiting = asyncio.create_task(proxy.forward(request))
        begun = b""
        async for event in stream.events():
            begun += bytes(event)  # type: ignore[arg-type]
            if "größ".encode() in begun:
                break
        assert begun.endswith(b"\n\n")
        assert not waiting.done()
        assert backends[0].in_flight == 1
        replicas[0].release.set()
        answer = await waiting
        assert (answer.status, answer.replica, answer.passages) == (200, "replica-0", [4, 2])
        assert await passed_on(stream) == [b"event: done\ndata: {}\n\n"]
        assert backends[0].stats()["responses"] == {"200": 1}


@pytest.mark.parametrize("mood", [None, "abort", 503, "stream refused late"])
async def test_a_stream_that_has_not_begun_is_tried_elsewhere(mood: Mood) -> None:
    async with balanced(mood, "stream") as (proxy, _, replicas):
        for _ in range(3):
            request, stream = streaming()
            assert (await proxy.forward(request)).replica == "replica-1"
            assert (b"".join(await passed_on(stream))).count(b"event: done") == 1
        assert len(replicas[1].asked) == 3


@pytest.mark.parametrize("mood", ["stream cut", "stream ends early", "stream large", "stream slow"])
async def test_a_stream_that_has_begun_is_never_begun_again(mood: Mood) -> None:
    async with balanced(mood, "stream", stream_gap_s=0.2) as (proxy, backends, replicas):
        request, stream = streaming()
        with pytest.raises(BadGateway, match="the answer broke off: replica-0: "):
            await proxy.forward(request)
        told = b"".join(await passed_on(stream))
        assert told.endswith(b"\n\n"), "whole events only"
        assert b"done" not in told
        assert replicas[1].asked == []
        assert backends[0].codes["failed"] == 1
        replicas[0].release.set()


@pytest.mark.parametrize(
    "mood", ["stream done, then cut", "stream done, then held", "stream done, then more"]
)
async def test_a_stream_is_whole_with_its_last_event(mood: Mood, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "END_S", 0.05)
    async with balanced(mood, stream_gap_s=0.2) as (proxy, backends, replicas):
        request, stream = streaming()
        answering = asyncio.create_task(proxy.forward(request))
        if mood == "stream done, then cut":
            monkeypatch.setattr(relay, "END_S", 300.0)
            await eventually(lambda: stream.replica is not None)
            replicas[0].release.set()
        assert (await answering).status == 200
        assert b"".join(await passed_on(stream)).endswith(b"event: done\ndata: {}\n\n")
        assert backends[0].codes == {"200": 1}
        replicas[0].release.set()


async def test_a_stream_that_says_nothing_is_told_by_its_limit() -> None:
    async with balanced("stream slow", stream_gap_s=0.05) as (proxy, _, replicas):
        with pytest.raises(BadGateway, match=r"replica-0: it said nothing for server.stream_gap_s=0.05 s"):
            await proxy.forward(streaming()[0])
        replicas[0].release.set()


async def test_a_stream_of_a_lost_replica_ends_at_once() -> None:
    async with balanced("stream slow", "stream") as (proxy, backends, replicas):
        request, stream = streaming()
        waiting = asyncio.create_task(proxy.forward(request))
        await eventually(lambda: stream.replica is not None)
        backends[0].lose()
        with pytest.raises(BadGateway, match="the answer broke off: replica-0 is gone"):
            await waiting
        assert replicas[1].asked == []
        replicas[0].release.set()


async def test_the_first_to_begin_has_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    async with balanced("slow", "stream slow", poll_s=0.01) as (proxy, backends, replicas):
        request, stream = streaming()
        waiting = asyncio.create_task(proxy.forward(request))
        await eventually(lambda: bool(replicas[0].asked))
        monkeypatch.setattr(backends[0].silence, "silent", lambda: True)
        await eventually(lambda: stream.replica == "replica-1")
        replicas[1].release.set()
        assert (await waiting).replica == "replica-1"
        replicas[0].release.set()


async def test_a_client_that_leaves_a_stream_leaves_its_replica() -> None:
    async with balanced("stream slow") as (proxy, backends, replicas):
        request, stream = streaming()
        waiting = asyncio.create_task(proxy.forward(request))
        await eventually(lambda: stream.replica is not None)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert backends[0].in_flight == 0
        assert not backends[0].codes
        replicas[0].release.set()
