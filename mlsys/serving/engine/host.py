"""The engine's side: a service of this process, asked over a socket instead of HTTP.

What it tells is gathered until the event loop has nothing else to do, so the tokens of a step go as one message. Where
the other process does not keep up, texts of one answer become one text: what is kept is never more than the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Any

from mlsys.rag.item import Hit
from mlsys.serving.engine import messages
from mlsys.serving.engine.frames import Frames, Message
from mlsys.serving.form import Unwritten
from mlsys.serving.pipeline_service import PipelineService
from mlsys.serving.request import Failed, Request, ServiceError
from mlsys.serving.stream import Stream

BEAT_S = 0.25
TELLING = ("found", "text", "done", "failed", "told")


FORM = Unwritten()  # another process writes the answer


class Outward(Stream):
    """A stream that ends in the other process."""

    def __init__(self, host: Host, number: int, request: Request) -> None:
        super().__init__()
        self._host, self._number, self._request = host, number, request

    def retrieved(self, passages: Sequence[Hit]) -> None:
        """Tell them."""
        self._host.tell("found", messages.found(self._number, passages, self._request.item.prompt_passages))

    def write(self, text: str, tokens: int | None) -> None:
        """Tell it with everything else of this step."""
        self._host.write(self._number, text, tokens)


class Host:
    """Serves `service` to the process at the other end of a socket until that says stop, or is gone."""

    def __init__(self, service: PipelineService) -> None:
        self.service = service
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._frames = Frames(self._take, self._lost, self._flush_soon)
        self._told: dict[str, list[messages.Row]] = {name: [] for name in TELLING}
        self._texts: dict[int, messages.Row] = {}
        self._taken, self._flushing = 0, False
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._other: set[asyncio.Task[None]] = set()

    async def run(self, end: socket.socket, started: Callable[[], None] = lambda: None) -> bool:
        """Start the service, serve, close it. Whether all that ran had ended. Raises what starting raises."""
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self._frames, sock=end)
        starting = asyncio.ensure_future(self.service.start())
        either: set[asyncio.Future[Any]] = {starting, self.ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return False
        starting.result()
        started()
        beating = asyncio.ensure_future(self._beat())
        drained = await self.ended
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await self.service.close(drained)
        self._frames.close()
        return drained

    def tell(self, what: str, row: messages.Row) -> None:
        """With the next message."""
        self._told[what].append(row)
        self._flush_soon()

    def write(self, number: int, text: str, tokens: int | None) -> None:
        """Text of an answer, with the next message."""
        row = self._texts.get(number)
        if row is None:
            self._texts[number] = [number, text, tokens]
        else:
            row[1] += text
            row[2] = None if row[2] is None or tokens is None else row[2] + tokens
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if not self._frames.writable:
            return  # `drained` comes back to it
        self._told["text"] = list(self._texts.values())
        self._texts.clear()
        message: Message = {"taken": self._taken, "waiting": self.service.queued()}
        for name, rows in self._told.items():
            if rows:
                message[name] = rows
                self._told[name] = []
        message["state"] = self.service.state()
        self._frames.send(message)

    async def _beat(self) -> None:
        """How it stands, now and then: a process that says nothing is stalled."""
        while True:
            self._flush_soon()
            await asyncio.sleep(BEAT_S)

    def _take(self, message: Message) -> None:
        for row in message.get("ask", ()):
            number, request, streams = messages.request_of(row)
            request.form = FORM
            if streams:
                request.stream = Outward(self, number, request)
            self._tasks[number] = asyncio.ensure_future(self._answer(number, request))
            self._taken += 1
        for number in message.get("leave", ()):
            if (task := self._tasks.get(number)) is not None:
                task.cancel()
        for number, what in message.get("tell", ()):
            task = asyncio.ensure_future(self._tell(number, what))
            self._other.add(task)
            task.add_done_callback(self._other.discard)
        if "stop" in message and not self.ended.done():
            self.ended.set_result(bool(message["stop"]))
        self._flush_soon()

    async def _answer(self, number: int, request: Request) -> None:
        try:
            await self.service.answer(request)
            self.tell("done", messages.done(number, request))
        except Exception as error:
            self.tell("failed", messages.failed(number, _told(error)))
        finally:
            del self._tasks[number]

    async def _tell(self, number: int, what: str) -> None:
        try:
            self.tell("told", [number, await self._content(what)])
        except Exception as error:
            self.tell("told", [number, None, *messages.failed(number, _told(error))])

    async def _content(self, what: str) -> Any:
        if what == "metrics":
            return self.service.meters.exposition().decode()
        if what == "names":
            names = await self.service.names()
            return [names.texts, names.embeddings]
        return await self.service.stats()

    def _lost(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        with contextlib.suppress(asyncio.InvalidStateError):
            self.ended.set_result(False)


def _told(error: Exception) -> ServiceError:
    return error if isinstance(error, ServiceError) else Failed(f"{type(error).__name__}: {error}")
