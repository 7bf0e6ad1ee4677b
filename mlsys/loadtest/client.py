"""One request over HTTP, stamped and judged. A service may be a stranger's: it is believed in nothing.

Redirects are never followed (they would carry the API key elsewhere). Cookies are not kept (each question is a user of
its own). Bodies are bounded, and one time limit covers a request from its sending to the last byte of its answer.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp

from mlsys import bodies, tls
from mlsys.loadtest import stream
from mlsys.loadtest.answer import replica, retry_after_s
from mlsys.loadtest.apis import Api
from mlsys.loadtest.apis.rag import Rag
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import FAILED, TIMED_OUT, Row

GET_TIMEOUT_S = 5.0
LONGEST_ERROR = 300
MOST_DESCRIPTORS = 2**20
OWN_DESCRIPTORS = 64  # files, pipes and libraries of this process


class Client:
    """Connections to one service, as an async context manager. As many as the load takes.

    `certificate`: the file with that of the service, where it is trusted by that alone (https).
    `stall_s`: answers are asked for piece by piece, and after the first piece none may take longer. None: whole.
    `api`: the protocol that the service speaks, this project's own where none is given.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        k: int,
        timeout_s: float,
        expected_tokens: int | None,
        stall_s: float | None = None,
        api: Api | None = None,
        certificate: str | None = None,
    ) -> None:
        self._api: Api = api or Rag()
        self._url, self._headers, self._k = self._api.root(url.rstrip("/")), dict(headers), k
        self._timeout_s, self._expected_tokens, self._stall_s = timeout_s, expected_tokens, stall_s
        self._tls = tls.own(certificate) or True
        self._in_flight = 0

    async def __aenter__(self) -> Client:
        self._kept, self._fresh = self._session(keep=True), self._session(keep=False)
        self._most = max(1, descriptors() - OWN_DESCRIPTORS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kept.close()
        await self._fresh.close()

    def _session(self, keep: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=not keep, ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            trace_configs=[_reuse_seen()],
        )

    async def ask(self, row: Row, question: Question, clock: Callable[[], float]) -> None:
        """Send the question, fill in the row, failures too. `clock` gives s since the level began."""
        try:
            body = await self.send(row, question, clock)
            self._api.judge(row, question, body, row.max_tokens or self._expected_tokens)
        except TimeoutError:
            row.done_s, row.outcome = clock(), TIMED_OUT
            row.error = f"no answer within {self._timeout_s:g} s"
        except stream.Broken as error:
            row.done_s, row.outcome, row.error = clock(), FAILED, str(error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            row.done_s, row.outcome, row.error = clock(), FAILED, said(error)

    async def send(self, row: Row, question: Question, clock: Callable[[], float]) -> Any:
        """Send the question, stamp the row, return the JSON of an answer (None: of another status than 200, and none).

        Raises TimeoutError, ClientError, OSError or ValueError. A kept connection that breaks before a byte of the
        answer was closed by the service while it idled: the question is sent once more, on a new one.
        """
        sent = SimpleNamespace(reused=False)
        with self._descriptor():
            async with asyncio.timeout(self._timeout_s):
                try:
                    return await self._post(self._kept, sent, row, question, clock)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                    if not sent.reused or row.status is not None or _begun(error):
                        raise
                    row.resent = True
                    return await self._post(self._fresh, sent, row, question, clock)

    @contextmanager
    def _descriptor(self) -> Iterator[None]:
        """One for a connection. Raises OSError where only those are left that the process itself needs."""
        if self._in_flight >= self._most:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def _post(
        self,
        session: aiohttp.ClientSession,
        sent: SimpleNamespace,
        row: Row,
        question: Question,
        clock: Callable[[], float],
    ) -> Any:
        asking = self._api.asking(row, question, self._k, self._stall_s is not None)
        async with session.request(
            asking.method,
            self._url + asking.path,
            json=asking.body,
            allow_redirects=False,
            trace_request_ctx=sent,
        ) as response:
            row.status, row.first_byte_s = response.status, clock()
            row.retry_after_s, row.replica = retry_after_s(response.headers), replica(response.headers)
            if self._stall_s is not None and row.status == 200 and stream.is_one(response):
                return await stream.read(response, self._api.streamed(row), clock, self._stall_s)
            content = await bodies.read(response)
        row.done_s = clock()
        if self._stall_s is not None:
            row.first_text_s = row.done_s
        return bodies.parse(content) if row.status == 200 else _of_refusal(content)

    async def get(self, path: str) -> Any:
        """The JSON of a GET, or None where the service has none."""
        content = await self.fetch(path)
        try:
            return None if content is None else bodies.parse(content)
        except ValueError:
            return None

    async def fetch(self, path: str) -> bytes | None:
        """The body of a GET, or None where the service has none."""
        try:
            async with (
                asyncio.timeout(GET_TIMEOUT_S),
                self._kept.get(self._url + path, allow_redirects=False) as response,
            ):
                return await bodies.read(response) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError):
            return None


def bearer(key: str | None, header: str | None = None) -> dict[str, str]:
    """The header that carries a service's key: `Authorization`, or the key alone in a `header` of another name."""
    if not key:
        return {}
    return {"Authorization": f"Bearer {key}"} if header in (None, "Authorization") else {header or "": key}


def descriptors() -> int:
    """How many files and sockets this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def said(error: BaseException) -> str:
    """An error as one line of bounded length: part of it may be the service's own words."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    return f"{type(error).__name__}: {text}"[:LONGEST_ERROR]


def _of_refusal(content: bytes) -> Any:
    """What a body says of why there is no answer; None where it is no JSON."""
    try:
        return bodies.parse(content)
    except ValueError:
        return None


def _begun(error: aiohttp.ClientError) -> bool:
    """Whether the answer had begun: then the message that broke off comes with the error."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _reuse_seen() -> aiohttp.TraceConfig:
    async def seen(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx.reused = True

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(seen)
    return config
