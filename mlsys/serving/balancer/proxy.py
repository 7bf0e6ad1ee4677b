"""Carries a request to a replica and, where the connection failed or the replica went silent, to another one,
within the retry budget.

Answering a question changes nothing on a replica, so a request whose connection broke may safely be asked
again.
"""

from __future__ import annotations

import asyncio
import errno
import json
from types import TracebackType
from typing import Any

import aiohttp

from mlsys import bodies
from mlsys.serving.balancer import relay
from mlsys.serving.balancer.backend import Backend, Backends
from mlsys.serving.balancer.budget import FOR_DEATHS, RetryBudget
from mlsys.serving.http import sse
from mlsys.serving.modes import PASSAGES, Answer
from mlsys.serving.request import BadGateway, Request, Unavailable
from mlsys.serving.stream import Stream

BUSY = frozenset({429, 503})
JSON = {"content-type": "application/json"}
OWN_FAULTS = frozenset({errno.EMFILE, errno.ENFILE})  # no open files: nothing that a replica did


class Broken(Exception):
    """The connection to a replica could not be made, broke, or was given up because the replica is gone."""


class NoAnswer(Broken):
    """What the replica sent is none: a redirect, an empty success, a body without an end."""


class Proxy:
    """One client session for all replicas. Use as an async context manager."""

    def __init__(
        self,
        backends: Backends,
        budget: RetryBudget,
        connect_timeout_s: float,
        silent_s: float = 0.0,
        stream_gap_s: float = 60.0,
    ) -> None:
        self._stream_gap_s = stream_gap_s
        self.backends, self.budget, self._connect_timeout_s = backends, budget, connect_timeout_s
        self._poll_s = silent_s / 4 or None
        self.retries = 0
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Proxy:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s)
        noting = aiohttp.TraceConfig()
        noting.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            trace_configs=[noting],
        )
        self._fresh = aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(limit=0, force_close=True)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in (self._session, self._fresh):
            if session is not None:
                await session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session. Raises RuntimeError before it is entered."""
        if self._session is None:
            raise RuntimeError("the proxy has not been entered")
        return self._session

    async def forward(self, request: Request) -> Answer:
        """The answer of one replica; of the first to give one where the others have gone silent.

        Raises Unavailable where none is up or retries ran out on broken connections, BadGateway where they
        ran out on what is no answer, or where a stream that had begun broke off.
        """
        self.budget.earn()
        tried: list[Backend] = []
        calls: dict[asyncio.Task[Answer], Backend] = {}
        answer: Answer | None = None
        fault = Broken("no replica was asked")
        try:
            while True:
                begun = _begun(request)
                if begun is None and all(backend.silence.silent() for backend in calls.values()):
                    if (backend := self._next(tried, answer is not None, request)) is not None:
                        calls[self._call(backend, request)] = backend
                    elif not calls:
                        break
                done, _ = await asyncio.wait(calls, timeout=self._poll_s, return_when=asyncio.FIRST_COMPLETED)
                for call in done:
                    asked = calls.pop(call)
                    try:
                        answer = _result(call, asked)
                    except Broken as error:
                        if _begun(request) == asked.name:
                            raise BadGateway(f"the answer broke off: {error}") from error
                        fault = error
                    else:
                        if answer.status not in BUSY:
                            return answer
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        if answer is not None:
            return answer
        if isinstance(fault, NoAnswer):
            raise BadGateway(str(fault))
        raise Unavailable(f"the connection to {len(tried)} replica(s) failed", 1)

    def _next(self, tried: list[Backend], busy: bool, request: Request) -> Backend | None:
        """Whom to ask now, if anybody is left and the budget allows it. Raises Unavailable if none is up."""
        backend = self.backends.choose(tried, request)
        if tried and backend is not None:
            if not self.budget.spend(FOR_DEATHS if busy else 0.0):
                return None
            self.retries += 1
        if backend is not None:
            tried.append(backend)
        return backend

    def _call(self, backend: Backend, request: Request) -> asyncio.Task[Answer]:
        call = asyncio.create_task(self._ask(backend, request))
        backend.take(call)
        return call

    async def _ask(self, backend: Backend, request: Request) -> Answer:
        form = request.form
        path, body = "/rag", {"query": request.query, "k": request.k}
        if form is not None:
            path, body = form.path, form.sent()
        if (remaining_s := request.remaining_s) is not None:
            body["timeout_ms"] = max(1.0, remaining_s * 1000)
        try:
            async with await self._post(f"{backend.url}{path}", json.dumps(body)) as response:
                status, headers = response.status, response.headers
                if status != 200 and not 400 <= status < 600:
                    response.close()
                    backend.answered(status)
                    raise NoAnswer(f"{backend.name} answered {status}, which is no answer to a question")
                passages = _numbers(headers.get(PASSAGES))
                if status == 200:
                    self.backends.learn(request, passages)
                if request.stream is not None and status == 200 and response.content_type == sse.MEDIA_TYPE:
                    await self._relay(backend, request.stream, response)
                    content = b""
                else:
                    content = await bodies.read(response)
        except bodies.TooLarge as error:
            backend.answered(None)
            raise NoAnswer(f"{backend.name}: {error}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if getattr(error, "errno", None) in OWN_FAULTS:
                raise Unavailable("the balancer has no open files left", 1) from error
            backend.answered(None)
            raise Broken(f"{backend.name}: {error}") from error
        backend.answered(status)
        kind = _plain(headers.get("content-type")) or "application/octet-stream"
        return Answer(content, status, backend.name, _plain(headers.get("retry-after")), kind, passages)

    async def _relay(self, backend: Backend, stream: Stream, response: aiohttp.ClientResponse) -> None:
        """Every event to the client; the replica whose first one comes first has the stream."""
        async for event in relay.events(response, self._stream_gap_s):
            if stream.replica not in (None, backend.name):
                raise Broken(f"{backend.name}: another replica was first")
            stream.replica = backend.name
            backend.silence.heard()
            stream.pass_on(event)

    async def _post(self, url: str, body: str) -> aiohttp.ClientResponse:
        """The head of the answer. A kept connection that closed before it came says nothing about the replica,
        which may close one at any time (RFC 9112, 9.3.1): the question is asked again on a fresh one.
        """
        if self._fresh is None:
            raise RuntimeError("the proxy has not been entered")
        kept: dict[str, bool] = {}
        try:
            return await self.session.post(
                url, data=body, headers=JSON, allow_redirects=False, trace_request_ctx=kept
            )
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
            if not kept:
                raise
        return await self._fresh.post(url, data=body, headers=JSON, allow_redirects=False)


async def _note_reuse(_: aiohttp.ClientSession, context: Any, __: Any) -> None:
    if context.trace_request_ctx is not None:  # checks do not ask
        context.trace_request_ctx["kept"] = True


def _begun(request: Request) -> str | None:
    """The replica whose stream the client has begun to get: no other can go on with it."""
    return None if request.stream is None else request.stream.replica


def _numbers(header: str | None) -> list[int]:
    """Ids of passages, as a replica of our own names them."""
    try:
        return [int(number) for number in (_plain(header) or "").split(",") if number]
    except ValueError:
        return []


def _result(call: asyncio.Task[Answer], backend: Backend) -> Answer:
    """Raises Broken where the call was cancelled because the replica is lost, or as the call did."""
    if call.cancelled():
        backend.answered(None)
        raise Broken(f"{backend.name} is gone")
    return call.result()


def _plain(header: str | None) -> str | None:
    """The header if it can be sent on: short and printable ASCII."""
    return header if header and len(header) <= 200 and header.isascii() and header.isprintable() else None
