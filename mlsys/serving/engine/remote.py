"""The side of HTTP: a service whose engine is asked over a socket.

Who may enter is the engine's to say. Here is only bounded what it has not read yet: no more than `server.max_queue`.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from typing import Any, Protocol

from mlsys.serving.engine import exposition, messages
from mlsys.serving.engine.frames import Frames, Message
from mlsys.serving.http import schema
from mlsys.serving.meters import Meters
from mlsys.serving.modes import Answer, Names
from mlsys.serving.options import Server
from mlsys.serving.request import Expired, Refused, Request, Unavailable

SILENT_S = (
    5.0  # an engine that has said nothing for so long is stalled: it tells four times a second how it is
)


class Engine(Protocol):
    """The other process."""

    async def start(self) -> socket.socket: ...  # noqa: D102
    async def ending(self) -> Exception: ...  # noqa: D102
    async def stop(self, drained: bool) -> None: ...  # noqa: D102


class Remote:
    """The service of the process that clients speak to."""

    def __init__(self, options: Server, engine: Engine) -> None:
        self.options, self.engine, self.meters = options, engine, Meters()
        self.meters.gauge("ready", "1 when ready.", lambda: self.state() == "ready")
        self._frames = Frames(self._take, self._lost, self._flush_soon)
        self._asks: list[messages.Row] = []
        self._leaves: list[int] = []
        self._tells: list[messages.Row] = []
        self._running: dict[int, Request] = {}
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._sent = self._taken = self._waiting = 0
        self._flushing, self._state, self._engines = False, "loading", "loading"
        self._heard_at = 0.0
        self._names: Names | None = None

    async def start(self) -> None:
        """Start the engine's process, wait until it is ready. Raises UserError or ProcessEnded where it ends."""
        loop = asyncio.get_running_loop()
        self._begun: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        ours = await self.engine.start()
        await loop.create_unix_connection(lambda: self._frames, sock=ours)
        await asyncio.wait({self._begun, self._gone}, return_when=asyncio.FIRST_COMPLETED)
        if not self._begun.done():
            raise await self.engine.ending()
        self._state = "ready"

    async def died(self) -> Exception:
        """Once the engine's process is gone: why."""
        await self._gone
        return await self.engine.ending()

    def state(self) -> str:
        """The engine's, and `stalled` where it says nothing."""
        if self._state != "ready":
            return self._state
        if self._gone.done():
            return "down"
        return "stalled" if time.monotonic() - self._heard_at > SILENT_S else self._engines

    def check(self, client: str = "") -> None:
        """Raise Unavailable or Refused if nothing could enter, as far as the engine has told a moment ago.

        A client with a name may take another one's place, which the engine alone can tell.
        """
        self._enterable()
        if not client and self._waiting + self._sent - self._taken >= self.options.max_queue:
            raise Refused(f"the queue is full: server.max_queue={self.options.max_queue} requests wait", 1)

    def _enterable(self) -> None:
        if self._state != "ready" or self._gone.done():
            raise Unavailable(f"the service is {self.state()}", 1)
        if self._sent - self._taken >= self.options.max_queue:
            raise Refused(
                f"the engine has not read server.max_queue={self.options.max_queue} requests yet", 1
            )

    async def answer(self, request: Request) -> Answer:
        """Let the engine answer. Leaving early tells it so."""
        self._enterable()
        await self._answered(request)
        if request.stream is None:
            form = request.form
            body = (schema.rag_body if form is None else form.whole)(request, self.options.label)
        else:
            request.mark("respond")
            body = b""
        if request.wish.embeds:
            return Answer(body, replica=self.options.label)
        self.meters.parts(request.parts_s)
        return Answer(body, replica=self.options.label, passages=request.item.prompt_passages)

    async def _answered(self, request: Request) -> None:
        number = next(self._numbers)
        request.future = asyncio.get_running_loop().create_future()
        if request.stream is not None:
            request.stream.replica = self.options.label
        self._running[number] = request
        self._asks.append(messages.asked(number, request))
        self._sent += 1
        self._flush_soon()
        try:
            async with request.in_time():
                await request.future
        except TimeoutError:
            raise Expired("the deadline (timeout_ms) passed before the answer was ready") from None
        finally:
            request.cancelled = True
            if self._running.pop(number, None) is not None:
                self._leaves.append(number)
                self._flush_soon()

    async def names(self) -> Names:
        """As the engine calls them."""
        if self._names is None:
            self._names = Names(*await self._told("names"))
        return self._names

    async def stats(self) -> dict[str, Any]:
        """The engine's, with what this process has counted."""
        told = {} if self._state == "loading" else await self._told("stats")
        own = self.meters.stats()["responses"]
        return {"mode": self.options.name, **told, "responses": own, "state": self.state()}

    async def exposition(self) -> bytes:
        """The meters of both processes."""
        own = self.meters.exposition()
        if self._state == "loading" or self._gone.done():
            return own
        return exposition.merged(own.decode(), await self._told("metrics")).encode()

    async def _told(self, what: str) -> Any:
        if self._state == "loading" or self._gone.done():
            raise Unavailable(f"the service is {self.state()}", 1)
        number = next(self._numbers)
        self._calls[number] = asyncio.get_running_loop().create_future()
        self._tells.append([number, what])
        self._flush_soon()
        try:
            async with asyncio.timeout(SILENT_S):
                return await self._calls[number]
        except TimeoutError:
            raise Unavailable(f"the engine's process has not answered for {SILENT_S:g} s", 1) from None
        finally:
            del self._calls[number]

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        rows = {"ask": self._asks, "leave": self._leaves, "tell": self._tells}
        self._asks, self._leaves, self._tells = [], [], []
        if told := {name: each for name, each in rows.items() if each}:
            self._frames.send(told)

    def _take(self, message: Message) -> None:
        self._heard_at = time.monotonic()
        self._taken, self._waiting, self._engines = message["taken"], message["waiting"], message["state"]
        running = self._running
        for number, passages, places in message.get("found", ()):
            if (request := running.get(number)) is not None and request.stream is not None:
                request.item = request.begin()
                request.item.passages, request.item.prompt_passages = messages.hits(passages), places
                request.stream.retrieved(request.item.passages)
        for number, text, tokens in message.get("text", ()):
            if (request := running.get(number)) is not None and request.stream is not None:
                request.stream.write(text, tokens)
        for row in message.get("done", ()):
            if (request := running.pop(row[0], None)) is not None:
                messages.fill(request, row)
                _settle(request.future, None)
        for row in message.get("failed", ()):
            if (request := running.pop(row[0], None)) is not None:
                _settle(request.future, messages.error_of(row))
        for number, content, *error in message.get("told", ()):
            if (call := self._calls.get(number)) is not None:
                _settle(call, messages.error_of(error) if error else None, content)
        if not self._begun.done():
            self._begun.set_result(None)

    def _lost(self) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        error = Unavailable("the engine's process has ended", 1)
        for request in self._running.values():
            _settle(request.future, error)
        for call in self._calls.values():
            _settle(call, error)

    def drain(self) -> None:
        """Refuse what comes from now on; what was asked is still answered."""
        self._state = "draining"

    async def close(self, drained: bool) -> None:
        """Tell it to stop, and see that it does."""
        self._frames.send({"stop": drained})
        await self.engine.stop(drained)
        self._frames.close()


def _settle(future: asyncio.Future[Any] | None, error: Exception | None, content: Any = None) -> None:
    if future is None or future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(content)
