"""A service of a few lines that answers, refuses, hangs or talks nonsense, on 127.0.0.1 and a free port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Handler = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


class Double:
    """`handler` takes the JSON of a question; `asked` keeps what came, `dropped` counts clients that left."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.dropped = 0
        self.stats: dict[str, Any] | None = None

    async def told(self, _: web.Request) -> web.Response:
        return web.json_response(self.stats)

    async def rag(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        try:
            return await self.handler(self.asked[-1])
        except asyncio.CancelledError:
            self.dropped += 1
            raise


@asynccontextmanager
async def hosted(app: web.Application) -> AsyncIterator[str]:
    """The application's address while the body runs."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving(double: Double, stats: dict[str, Any] | None = None) -> AsyncIterator[str]:
    """The double's address while the body runs."""
    double.stats = stats
    app = web.Application()
    app.router.add_post("/rag", double.rag)
    if stats is not None:
        app.router.add_get("/stats", double.told)
    async with hosted(app) as url:
        yield url


async def good(question: dict[str, Any]) -> web.StreamResponse:
    """What a service should say."""
    return web.json_response(
        {
            "query": question["query"],
            "result": f"answer to {question['query']}",
            "passages": [{"id": 0, "text": "a", "score": 1.0, "source": "s"}],
            "timings_ms": {"queue": 0.1, "generate": 0.2, "total": 0.3},
            "batch_size": 1,
            "tokens": 32,
        }
    )
