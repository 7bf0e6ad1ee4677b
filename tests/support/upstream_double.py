"""A server that speaks OpenAI's and TEI's API and misbehaves as a test says, on a socket and in a thread of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from mlsys.rag.upstream.background import Background

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]
DONE = b"data: [DONE]\n\n"


def chunk(text: str | None, finish: str | None = None, usage: Any = None) -> bytes:
    """One event of a stream, as vLLM sends it."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": finish}] if usage is None else []
    return f"data: {json.dumps({'choices': choices, 'usage': usage})}\n\n".encode()


def whole(text: str, tokens: int | None = 3) -> web.Response:
    usage = None if tokens is None else {"prompt_tokens": 7, "completion_tokens": tokens}
    choices = [{"index": 0, "message": {"content": text}, "text": text, "finish_reason": "stop"}]
    return web.json_response({"choices": choices, "usage": usage})


class UpstreamDouble:
    """`behave`: what it does with each POST, in turn; the last one for all that follow. `asked`: their bodies."""

    def __init__(self, *behave: Behaviour) -> None:
        self.behave, self.asked, self.running, self.most, self.left = list(behave), list[Any](), 0, 0, 0
        self.headers: list[Any] = []
        self.gets: dict[str, Any] = {"/v1/models": {"data": [{"id": "m", "owned_by": "double"}]}}
        self.well = True
        self.url, self.port = "", 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._get)
        app.router.add_post("/{path:.*}", self._post)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if not self.well:
            return web.Response(status=503)
        if request.path not in self.gets:
            return web.Response(status=404)
        return web.json_response(self.gets[request.path])

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self.asked.append({"path": request.path, **dict(await request.json())})
        self.headers.append(request.headers)
        behave = self.behave.pop(0) if len(self.behave) > 1 else self.behave[0]
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await behave(request)
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self.running -= 1


@contextmanager
def running(*behave: Behaviour) -> Iterator[tuple[UpstreamDouble, Background]]:
    """The double at work, and the thread that it is in."""
    double, background = UpstreamDouble(*behave), Background("double")
    background.submit(double.start()).result(30)
    try:
        yield double, background
    finally:
        background.submit(double.stop()).result(30)
        background.stop()


async def streams(request: web.Request) -> web.StreamResponse:
    """A right answer, in pieces."""
    return await pieces(request, chunk("Yes"), chunk(", indeed"), chunk(None, "stop"), *usage(3), DONE)


def usage(tokens: int) -> list[bytes]:
    return [chunk(None, usage={"prompt_tokens": 7, "completion_tokens": tokens})]


async def pieces(
    request: web.Request, *parts: bytes, pause_s: float = 0.0, abort: bool = False
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for part in parts:
        await response.write(part)
        await asyncio.sleep(pause_s)
    if abort and request.transport is not None:
        request.transport.abort()
    return response


async def answers(request: web.Request) -> web.StreamResponse:
    """A right answer, whole."""
    return whole("Yes, indeed")


async def without_usage(request: web.Request) -> web.StreamResponse:
    return await pieces(request, chunk("Yes"), chunk(None, "stop"), DONE)


async def wrong_json(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>busy</html>", content_type="application/json")


async def wrong_event(request: web.Request) -> web.StreamResponse:
    return await pieces(request, chunk("Yes"), b"data: {oops\n\n", DONE)


async def fails(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "CUDA out of memory", "code": 500}}, status=500)


async def refuses(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "maximum context length is 10 tokens"}}, status=400)


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(300)
    return web.Response()


async def closes_early(request: web.Request) -> web.StreamResponse:
    return await pieces(request, chunk("Yes"), abort=True)


async def ends_early(request: web.Request) -> web.StreamResponse:
    """Closed politely, without an end."""
    return await pieces(request, chunk("Yes"))


async def redirects(request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("http://127.0.0.1:9/elsewhere")


async def drips(request: web.Request) -> web.StreamResponse:
    """A body that comes and comes, slowly."""
    return await pieces(request, *[chunk("a")] * 1000, pause_s=0.05)


async def floods(request: web.Request) -> web.StreamResponse:
    return await pieces(request, *[chunk("a" * 2**20)] * 64)


def asks_to_wait(seconds: str) -> Behaviour:
    async def behave(request: web.Request) -> web.StreamResponse:
        headers = {"Retry-After": seconds}
        return web.json_response({"error": {"message": "slow down"}}, status=429, headers=headers)

    return behave


def vector(text: str, dim: int = 3) -> list[float]:
    return [float(len(text)), *(float(ord(text[place % len(text)])) for place in range(dim - 1))]


def embeds(dim: int = 3, shift: float = 0.0) -> Behaviour:
    """Right vectors, OpenAI's in the wrong order, as its protocol allows."""

    async def behave(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if request.path == "/embed":
            return web.json_response([vector(text, dim) for text in body["inputs"]])
        vectors = [vector(text, dim) for text in body["input"]]
        vectors[0][-1] += shift
        data = [{"index": i, "embedding": one} for i, one in enumerate(vectors)]
        return web.json_response({"data": data[::-1]})

    return behave
