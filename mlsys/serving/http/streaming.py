"""An answer as it comes: an HTTP response that ends its request when the client leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from starlette.responses import Response

from mlsys.serving.http import sse
from mlsys.serving.modes import Answer
from mlsys.serving.request import Request, ServiceError
from mlsys.serving.stream import Piece

Event = Any  # passages (a sequence of `Hit`), a `Piece`, or events that another service wrote (bytes)
Receive = Callable[[], Awaitable[Any]]


async def until_gone(receive: Receive) -> None:
    """Until the client has closed the connection; its body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Coming:
    """A request's answer that has begun. `first` is its first event, `answer` the service at work on it."""

    def __init__(
        self, request: Request, first: Event, rest: AsyncIterator[Event], answer: asyncio.Future[Answer]
    ) -> None:
        self.request, self._first, self._rest, self._answer = request, first, rest, answer

    @property
    def passages(self) -> Sequence[int]:
        """Ids of those in the prompt, in its order, where the answer is written here."""
        return [] if isinstance(self._first, bytes | Piece) else self.request.item.prompt_passages

    async def events(self) -> AsyncIterator[bytes]:
        """Whole events, an end in any case."""
        form, stream = self.request.form, self.request.stream
        if form is None or stream is None:
            raise RuntimeError("this request is not answered as a stream")
        passed_on = isinstance(self._first, bytes)
        if isinstance(self._first, Piece):
            yield form.first(self.request, [])
        try:
            yield self._written(self._first)
            async for event in self._rest:
                yield self._written(event)
            await self._answer
        except ServiceError as error:
            yield form.failed(error)
        except Exception as error:
            yield form.failed(ServiceError(f"{type(error).__name__}: {error}"))
        else:
            if not passed_on:
                yield form.last(self.request, stream.replica)

    def _written(self, event: Event) -> bytes:
        form = self.request.form
        if isinstance(event, bytes) or form is None:
            return bytes(event)
        return form.piece(event) if isinstance(event, Piece) else form.first(self.request, event)

    async def close(self) -> None:
        """Nobody waits for it: what still works on it ends."""
        self._answer.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):  # how it failed, the stream has told
            await self._answer


class EventStream(Response):
    """Sends events until they end or the client leaves, whichever is first."""

    media_type = sse.MEDIA_TYPE

    def __init__(self, coming: Coming, headers: dict[str, str]) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no", **headers})
        del self.headers["content-length"]
        self._coming = coming

    async def __call__(self, scope: Any, receive: Receive, send: Callable[[Any], Awaitable[None]]) -> None:
        """One ASGI call."""
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(until_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            gone.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
            await self._coming.close()

    async def _send(self, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for event in self._coming.events():
            if event:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
