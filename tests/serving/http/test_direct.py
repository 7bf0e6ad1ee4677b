"""A right body goes to its route at once, and any other is told as FastAPI tells it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from mlsys.serving.http.direct import Direct
from mlsys.serving.request import Refused, ServiceError


class Body(BaseModel):
    number: int


async def answer(asked: Any, http: Request) -> Response:
    if asked.number < 0:
        raise Refused("no room", 1)
    return Response(f"{http.method} {asked.number} {http.url.path} {http.headers.get('x-mine')}")


answer.__annotations__ |= {"asked": Body, "http": Request, "return": Response}


async def said(http: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, ServiceError) else 500
    return Response(f"{error} at {http.url.path}", status)


class Watched:
    """Counts what comes to the framework."""

    def __init__(self, app: Any, seen: list[str]) -> None:
        self.app, self._seen = app, seen

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._seen.append(scope["path"])
        await self.app(scope, receive, send)


def applications(seen: list[str]) -> list[FastAPI]:
    """The usual one, and one that goes straight where it can."""
    usual, straight = FastAPI(), FastAPI()
    straight.add_middleware(Watched, seen=seen)
    straight.add_middleware(Direct, routes=straight.routes, said=said)
    for app in (usual, straight):
        app.post("/", response_model=None)(answer)
        app.post("/{number}/at", response_model=None)(answer)
        app.add_exception_handler(ServiceError, said)
    return [usual, straight]


@pytest.mark.parametrize(
    ("body", "kind", "status", "straight"),
    [
        (b'{"number": 3}', "application/json", 200, True),
        (b'{"number": 3}', "application/json; charset=utf-8", 200, True),
        (b'{"number": -3}', "application/json", 429, True),
        (b'{"number": 3}', "application/problem+json", 200, False),
        (b'{"number": "x"}', "application/json", 422, False),
        (b'{"number": ', "application/json", 422, False),
        (b"[" * 100_000, "application/json", 400, False),
        (b'{"number": 3}', "text/plain", 422, False),
        (b"", "application/json", 422, False),
    ],
)
def test_a_right_body_goes_straight(body: bytes, kind: str, status: int, straight: bool) -> None:
    seen: list[str] = []
    headers = {"content-type": kind, "x-mine": "1"}
    told = [TestClient(app).post("/", content=body, headers=headers) for app in applications(seen)]
    assert told[1].status_code == told[0].status_code == status
    assert told[1].text == told[0].text
    assert seen == ([] if straight else ["/"])


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 405), ("POST", "/none", 404), ("POST", "/3/at", 200)]
)
def test_what_is_no_such_route_is_the_framework_s(method: str, path: str, status: int) -> None:
    seen: list[str] = []
    told = [TestClient(app).request(method, path, json={"number": 3}) for app in applications(seen)]
    assert [each.status_code for each in told] == [status, status]
    assert told[1].text == told[0].text
    assert seen == [path]


def test_a_body_too_large_is_said_as_everywhere() -> None:
    async def too_large(*_: Any) -> Any:
        raise HTTPException(413, "too large")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    app = applications([])[1]
    head = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": head, "query_string": b""}
    direct = Direct(app, app.routes, said)
    asyncio.run(direct({**scope, "server": ("a", 80)}, too_large, send))
    assert sent[0]["status"] == 500
    assert b"too large" in sent[1]["body"]
