"""Somebody else's service: paths and what they answer, on 127.0.0.1 and a free port; keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from service_double import hosted

Answer = Callable[[web.Request, Any], Awaitable[web.StreamResponse]]


@dataclass
class Stranger:
    """`answers`: by path. `asked`: (method, path with query, JSON) of each request but GETs of what is not there."""

    answers: dict[str, Answer]
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = self.answers.get(request.path)
        if answer is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        text = await request.text()
        body = json.loads(text) if text else None
        self.asked.append((request.method, request.path_qs, body))
        return await answer(request, body)


@asynccontextmanager
async def answering(stranger: Stranger) -> AsyncIterator[str]:
    """Its address while the body runs."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stranger.handle)
    async with hosted(app) as url:
        yield url


def says(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Always the same JSON."""

    async def answer(_: web.Request, __: Any) -> web.StreamResponse:
        return web.json_response(content, status=status, headers=headers)

    return answer


def streams(*events: Any, done: bool = True) -> Answer:
    """Server-sent events with JSON (text as it is), `[DONE]` at their end."""

    async def answer(request: web.Request, _: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in (*events, *(["[DONE]"] if done else [])):
            await response.write(
                f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()
            )
        return response

    return answer
