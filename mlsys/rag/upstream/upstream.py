"""Another server that many threads ask: how many requests at once, how often again, how long, and whether it is there.

What is asked changes nothing there, so what failed may be asked again. `Retry-After` is kept to by everybody who asks.
Where it is longer than there is time, they are told so at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from math import inf
from typing import Any, TypedDict, TypeVar, Unpack

from mlsys import keys, progress
from mlsys.errors import UserError
from mlsys.rag.upstream import address
from mlsys.rag.upstream.background import Background
from mlsys.rag.upstream.connection import CHECK_S, Connection, Read
from mlsys.rag.upstream.errors import UpstreamError
from mlsys.rag.upstream.health import Health, Trouble

T = TypeVar("T")
POLL_S = 0.25


class Knobs(TypedDict):
    """The knobs of everything at an address; `conf/generator/openai.yaml` explains them."""

    url: str | None
    api_key: str | None
    max_in_flight: int
    connect_timeout_ms: float
    timeout_ms: float
    retries: int
    backoff_ms: float
    start_timeout_s: float
    check_interval_s: float


class Upstream:
    """`group`: whose knobs these are. `check_path`: what it answers with less than 500 while it is there.

    `counts`: `requests`, `succeeded`, `cancelled`, `retries`, `outages`, and `failed.<kind>` with the kinds of
    `UpstreamError`. A request is counted once, however often it was tried.
    """

    def __init__(self, group: str, check_path: str, usual_path: str = "", **knobs: Unpack[Knobs]) -> None:
        self.base = address.read(f"{group}.url", knobs["url"], usual_path)
        _check(group, knobs)
        self._key = keys.read(knobs["api_key"], f"{group}.api_key")
        self.group, self.name, self._knobs = group, f"{group}.url={self.base}", knobs
        self._check_path, self.timeout_s = check_path, knobs["timeout_ms"] / 1000
        self.health, self.counts = Health(knobs["check_interval_s"]), Counter[str]()
        self.in_flight = self.waiting = 0
        self._pause_until = 0.0
        self._background: Background | None = None

    def open(self) -> None:
        """Wait until it answers, and watch it from then on. Raises UserError where it does not, or refuses the key."""
        if self._background is not None:
            return
        self._background = Background(f"upstream-{self.group}")
        self._connection = self.run(self._connect())
        self._finalizer = weakref.finalize(self, _close, self._background, self._connection)
        with progress.step(f"waiting for {self.name}"):
            trouble = self.run(self._appears())
        if trouble is not None:
            self.close()
            raise UserError(f"{self.name} {trouble}")
        self._background.submit(self._watch())

    async def _connect(self) -> Connection:
        self._slots, self._doubt = asyncio.Semaphore(self._knobs["max_in_flight"]), asyncio.Event()
        return Connection(self.name, self.base, self._key, self._knobs["connect_timeout_ms"] / 1000)

    async def _appears(self) -> str | None:
        """None once it answers, or what is wrong."""
        until = time.monotonic() + self._knobs["start_timeout_s"]
        while (trouble := await self._trouble()) is not None:
            if trouble.is_final:
                return trouble.why
            if time.monotonic() + POLL_S > until:
                return f"{trouble.why} ({self.group}.start_timeout_s={self._knobs['start_timeout_s']:g})"
            await asyncio.sleep(POLL_S)
        if await self._connection.refuses_key(self._check_path):
            return f"refuses {self.group}.api_key={self._knobs['api_key'] or 'null'}"
        return None

    async def _trouble(self) -> Trouble | None:
        return await self._connection.trouble(self._check_path)

    def close(self) -> None:
        """Give everything up."""
        if self._background is not None:
            self._finalizer()
            self._background = None

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """From any thread: begin `work`, which asks this server. Cancelling the future ends it."""
        if self._background is None:
            work.close()
            raise RuntimeError(f"{self.name} is not open")
        return self._background.submit(work)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """From any other thread: what comes of `work`."""
        return self.submit(work).result()

    def told(self, url: str) -> Any:
        """From any other thread: the JSON at a whole address, or None."""
        return self.run(self._connection.get(url))

    async def post(
        self,
        path: str,
        body: Mapping[str, Any],
        read: Read[T],
        begins: Callable[[], None] | None = None,
        has_begun: Callable[[], bool] = bool,
    ) -> T:
        """What `read` makes of the answer of status 200. Raises UpstreamError.

        `begins` is called once it has one of `max_in_flight` places. From when `has_begun` is true, somebody has seen
        part of the answer: it is not asked again.
        """
        self.counts["requests"] += 1
        try:
            async with self._place():
                if begins is not None:
                    begins()
                answer = await self._within_time(path, body, read, has_begun)
        except UpstreamError as error:
            self.counts[f"failed.{error.kind}"] += 1
            raise
        except asyncio.CancelledError:
            self.counts["cancelled"] += 1
            raise
        self.counts["succeeded"] += 1
        self.health.heard()
        return answer

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._slots.release()

    async def _within_time(
        self, path: str, body: Mapping[str, Any], read: Read[T], has_begun: Callable[[], bool]
    ) -> T:
        until, attempt = time.monotonic() + self.timeout_s, 0
        try:
            async with asyncio.timeout(self.timeout_s):
                while True:
                    await self._may_ask(until)
                    self.counts["retries"] += attempt > 0
                    try:
                        return await self._connection.post(path, body, read)
                    except UpstreamError as error:
                        self._failed(error)
                        if not error.again or has_begun() or attempt == self._knobs["retries"]:
                            raise
                        if error.retry_after_s is None:
                            await asyncio.sleep(self._backoff_s(attempt))
                    attempt += 1
        except TimeoutError:
            self._doubt.set()
            text = f"{self.name} gives no whole answer within {self.timeout_s * 1000:g} ms"
            raise UpstreamError(504, "timeout", text) from None

    def _failed(self, error: UpstreamError) -> None:
        if error.retry_after_s is not None:
            self._pause_until = max(self._pause_until, time.monotonic() + error.retry_after_s)
        if error.status == 502:
            self._doubt.set()

    def _backoff_s(self, attempt: int) -> float:
        """Doubled each time; drawn, so that those who failed together do not come back together."""
        return self._knobs["backoff_ms"] / 1000 * 2.0**attempt * (0.5 + random.random() / 2)

    async def _may_ask(self, until: float) -> None:
        """Wait as long as it asked to. Raises UpstreamError where that is longer than there is time, or it is down."""
        if (trouble := self.health.trouble) is not None:
            text = f"{self.name} {trouble}, for {self.health.down_s():.0f} s"
            raise UpstreamError(502, "down", text, retry_after_s=self.health.interval_s)
        pause_s = self._pause_until - time.monotonic()
        if self._pause_until >= until:
            text = f"{self.name} asks to come back in {pause_s:.0f} s"
            raise UpstreamError(429, "rate_limit", text, retry_after_s=pause_s)
        if pause_s > 0:
            await asyncio.sleep(pause_s)

    async def _watch(self) -> None:
        """Again and again ask whether it is there: when it is time, and when a request has failed."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.health.interval_s):
                    await self._doubt.wait()
            self._doubt.clear()
            self.health.asked()
            self.health.checked(await self._trouble())
            self.counts["outages"] = self.health.outages
            await asyncio.sleep(min(POLL_S, self.health.interval_s))


def _close(background: Background, connection: Connection) -> None:
    with contextlib.suppress(RuntimeError, TimeoutError):  # the loop may have ended before
        background.submit(connection.close()).result(CHECK_S)
    background.stop()


def _check(group: str, knobs: Knobs) -> None:
    for knob, least in (("max_in_flight", 1), ("retries", 0), ("backoff_ms", 0), ("start_timeout_s", 0)):
        value = knobs[knob]  # type: ignore[literal-required]
        if not least <= value < inf:
            raise UserError(f"{group}.{knob}={value:g} must be at least {least}")
    for knob in ("connect_timeout_ms", "timeout_ms", "check_interval_s"):
        value = knobs[knob]  # type: ignore[literal-required]
        if not 0 < value < inf:
            raise UserError(f"{group}.{knob}={value:g} must be more than 0")
