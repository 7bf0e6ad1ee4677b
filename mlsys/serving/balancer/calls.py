"""How a replica is asked: over HTTP, with one client session for all replicas.

The one place of the balancer that knows of connections. Who is asked, and what follows from how it ended, is decided
elsewhere.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol

import aiohttp

from mlsys import bodies
from mlsys.serving.balancer import relay
from mlsys.serving.balancer.backend import Backend
from mlsys.serving.balancer.connector import Noting, kept
from mlsys.serving.http import sse, trail
from mlsys.serving.modes import PASSAGES, Answer
from mlsys.serving.request import Request, Unavailable
from mlsys.serving.stream import Stream

JSON = {"content-type": "application/json"}
OWN_FAULTS = frozenset({errno.EMFILE, errno.ENFILE})  # no open files: nothing that a replica did
Heard = Callable[[Sequence[int]], None]


class Broken(Exception):
    """The connection to a replica could not be made, broke, or was given up because the replica is gone."""


class NoAnswer(Broken):
    """What the replica sent is none: a redirect, an empty success, a body without an end."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Outrun(Broken):
    """Another replica's stream came first: that says nothing about this one."""


class Calls(Protocol):
    """What asks replicas. Use as an async context manager."""

    async def __aenter__(self) -> Calls: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def ask(self, backend: Backend, request: Request, heard: Heard) -> Answer:
        """The replica's answer. `heard` is told the ids of its prompt's passages as soon as they are known.

        Raises Broken or NoAnswer, or Unavailable where the balancer itself cannot ask.
        """

    async def check(self, backend: Backend, path: str, timeout_s: float) -> int:
        """The status of a GET. Raises TimeoutError, or Broken where there is none."""

    async def probe(self, backend: Backend, question: dict[str, Any], timeout_s: float) -> int:
        """The status of the answer to a real question. Raises as `check`."""

    async def told(self, backend: Backend, path: str, timeout_s: float) -> dict[str, Any]:
        """The JSON object of a GET; empty where there is none."""


class HttpCalls:
    """Over HTTP. `stream_gap_s`: a stream that says nothing for so long has broken off.

    Cookies are not kept: one client's would go to a replica with the next one's question.
    """

    def __init__(self, connect_timeout_s: float, stream_gap_s: float = 60.0) -> None:
        self._connect_timeout_s, self._stream_gap_s = connect_timeout_s, stream_gap_s
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> HttpCalls:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s)
        self._session, self._fresh = (
            aiohttp.ClientSession(timeout=timeout, connector=connector, cookie_jar=aiohttp.DummyCookieJar())
            for connector in (
                Noting(limit=0, keepalive_timeout=30),
                aiohttp.TCPConnector(limit=0, force_close=True),
            )
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
            raise RuntimeError("the calls have not been entered")
        return self._session

    async def ask(self, backend: Backend, request: Request, heard: Heard) -> Answer:
        """`POST` as the client did."""
        form = request.form
        path, body = "/rag", {"query": request.query, "k": request.k}
        if form is not None:
            path, body = form.path, form.sent()
        if (remaining_s := request.remaining_s) is not None:
            body["timeout_ms"] = max(1.0, remaining_s * 1000)
        try:
            async with await self._post(f"{backend.url}{path}", json.dumps(body).encode()) as response:
                status, headers = response.status, response.headers
                if status != 200 and not 400 <= status < 600:
                    response.close()
                    raise NoAnswer(
                        f"{backend.name} answered {status}, which is no answer to a question", status
                    )
                passages = _numbers(headers.get(PASSAGES))
                if status == 200:
                    heard(passages)
                if request.stream is not None and status == 200 and response.content_type == sse.MEDIA_TYPE:
                    await self._relay(backend, request.stream, response)
                    content = b""
                elif not (content := await bodies.read(response)) and status == 200:
                    raise NoAnswer(f"{backend.name} answered 200 with nothing in it")
        except bodies.TooLarge as error:
            raise NoAnswer(f"{backend.name}: {error}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if getattr(error, "errno", None) in OWN_FAULTS:
                raise Unavailable("the balancer has no open files left", 1) from error
            raise Broken(f"{backend.name}: {error}") from error
        kind = _plain(headers.get("content-type")) or "application/octet-stream"
        return Answer(content, status, backend.name, _plain(headers.get("retry-after")), kind, passages)

    async def _relay(self, backend: Backend, stream: Stream, response: aiohttp.ClientResponse) -> None:
        """Every event to the client; the replica whose first one comes first has the stream."""
        async for event in relay.events(response, self._stream_gap_s):
            if stream.replica not in (None, backend.name):
                raise Outrun(f"{backend.name}: another replica was first")
            stream.replica = backend.name
            backend.heard()
            stream.pass_on(event)

    async def _post(self, url: str, body: bytes) -> aiohttp.ClientResponse:
        """The head of the answer. A kept connection that closed before it came says nothing about the replica,
        which may close one at any time (RFC 9112, 9.3.1): the question is asked again on a fresh one.
        """
        if self._fresh is None:
            raise RuntimeError("the calls have not been entered")
        own = trail.request_id()
        headers = {**JSON, trail.HEADER: own} if own else JSON
        try:
            return await self.session.post(url, data=body, headers=headers, allow_redirects=False)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
            if not kept.get():
                raise
        return await self._fresh.post(url, data=body, headers=headers, allow_redirects=False)

    async def check(self, backend: Backend, path: str, timeout_s: float) -> int:
        """`GET`."""
        timeout = aiohttp.ClientTimeout(timeout_s)
        try:
            async with self.session.get(
                f"{backend.url}{path}", timeout=timeout, allow_redirects=False
            ) as response:
                return response.status
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            raise Broken(f"{backend.name}: {error}") from error

    async def probe(self, backend: Backend, question: dict[str, Any], timeout_s: float) -> int:
        """`POST /rag`, and the whole answer."""
        timeout = aiohttp.ClientTimeout(timeout_s)
        try:
            async with self.session.post(
                f"{backend.url}/rag", json=question, timeout=timeout, allow_redirects=False
            ) as response:
                await bodies.read(response)
                return response.status
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            raise Broken(f"{backend.name}: {error}") from error

    async def told(self, backend: Backend, path: str, timeout_s: float) -> dict[str, Any]:
        """`GET`."""
        timeout = aiohttp.ClientTimeout(timeout_s)
        try:
            async with self.session.get(
                f"{backend.url}{path}", timeout=timeout, allow_redirects=False
            ) as response:
                return Answer(await bodies.read(response)).content() or {}
        except (aiohttp.ClientError, OSError, TimeoutError):
            return {}


def _numbers(header: str | None) -> list[int]:
    """Ids of passages, as a replica of our own names them."""
    try:
        return [int(number) for number in (_plain(header) or "").split(",") if number]
    except ValueError:
        return []


def _plain(header: str | None) -> str | None:
    """The header if it can be sent on: short and printable ASCII."""
    return header if header and len(header) <= 200 and header.isascii() and header.isprintable() else None
