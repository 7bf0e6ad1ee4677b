"""A right body goes to its route at once, and any other is told as FastAPI tells it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic import BaseModel

from mlsys.serving.http import direct
from mlsys.serving.http.direct import Direct


class Body(BaseModel):
    number: int


async def answer(asked: Any, http: Request) -> Response:
    return Response(f"{http.method} {asked.number}")


answer.__annotations__ |= {"asked": Body, "http": Request, "return": Response}


@pytest.mark.parametrize(
    ("body", "kind", "status", "straight"),
    [
        (b'{"number": 3}', "application/json", 200, True),
        (b'{"number": 3}', "application/problem+json", 200, False),
        (b'{"number": "x"}', "application/json", 422, False),
        (b'{"number": ', "application/json", 422, False),
        (b"[" * 100_000, "application/json", 400, False),
        (b'{"number": 3}', "text/plain", 422, False),
    ],
)
def test_a_right_body_goes_straight(
    monkeypatch: pytest.MonkeyPatch, body: bytes, kind: str, status: int, straight: bool
) -> None:
    usually: list[str] = []
    usual_handler = APIRoute.get_route_handler

    def watched(self: APIRoute) -> direct.Handle:
        handle = usual_handler(self)

        async def handled(http: Request) -> Response:
            usually.append(type(self).__name__)
            return await handle(http)

        return handled

    monkeypatch.setattr(APIRoute, "get_route_handler", watched)
    usual, found = FastAPI(), FastAPI()
    found.router.route_class = Direct
    for app in (usual, found):
        app.post("/", response_model=None)(answer)
    headers = {"content-type": kind}
    told = [TestClient(app).post("/", content=body, headers=headers) for app in (usual, found)]
    assert told[1].status_code == told[0].status_code == status
    assert told[1].text == told[0].text
    assert ("Direct" not in usually) == straight
