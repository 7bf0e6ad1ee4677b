"""Carries a request to a replica and, where the connection failed, to another one, within the retry budget.

Answering a question changes nothing on a replica, so a request whose connection broke may safely be asked
again.
"""

from __future__ import annotations

import asyncio
import json
from types import TracebackType

import aiohttp

from mlsys.serving.balancer.backend import Backend, Backends
from mlsys.serving.balancer.budget import FOR_DEATHS, RetryBudget
from mlsys.serving.request import Request, Unavailable
from mlsys.serving.service import Answer

BUSY = frozenset({429, 503})
JSON = {"content-type": "application/json"}


class Broken(Exception):
    """The connection to a replica could not be made, broke, or was given up because the replica is gone."""


class Proxy:
    """One client session for all replicas. Use as an async context manager."""

    def __init__(self, backends: Backends, budget: RetryBudget, connect_timeout_s: float) -> None:
        self.backends, self.budget, self._connect_timeout_s = backends, budget, connect_timeout_s
        self.retries = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Proxy:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session. Raises RuntimeError before it is entered."""
        if self._session is None:
            raise RuntimeError("the proxy has not been entered")
        return self._session

    async def forward(self, request: Request) -> Answer:
        """The answer of one replica. Raises Unavailable where none is up, or retries ran out on broken
        connections.
        """
        self.budget.earn()
        tried: list[Backend] = []
        answer: Answer | None = None
        while True:
            backend = self.backends.choose(tried)
            reserve = 0.0 if answer is None else FOR_DEATHS
            if backend is None or (tried and not self.budget.spend(reserve)):
                break
            self.retries += bool(tried)
            tried.append(backend)
            try:
                answer = await self._attempt(backend, request)
            except Broken:
                continue
            if answer.status not in BUSY:
                return answer
        if answer is not None:
            return answer
        raise Unavailable(f"the connection to {len(tried)} replica(s) failed", 1)

    async def _attempt(self, backend: Backend, request: Request) -> Answer:
        """One call, counted in flight. A lost backend cancels it: then it is Broken."""
        with backend.hold():
            call = asyncio.ensure_future(self._call(backend, request))
            backend.attempts.add(call)
            try:
                await asyncio.wait({call})
            finally:
                backend.attempts.discard(call)
                if not call.done():
                    call.cancel()
                    await asyncio.gather(call, return_exceptions=True)
            if call.cancelled():
                backend.answered(None)
                raise Broken(f"{backend.name} is gone")
            return call.result()

    async def _call(self, backend: Backend, request: Request) -> Answer:
        body = {"query": request.query, "k": request.k}
        if (remaining_s := request.remaining_s) is not None:
            body["timeout_ms"] = max(1.0, remaining_s * 1000)
        try:
            async with self.session.post(
                f"{backend.url}/rag", data=json.dumps(body), headers=JSON
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            backend.answered(None)
            raise Broken(f"{backend.name}: {error}") from error
        backend.answered(response.status)
        return Answer(content, response.status, backend.name, response.headers.get("retry-after"))
