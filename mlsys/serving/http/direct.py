"""A right JSON body goes to its route's function at once: a framework's way for any function takes as long as the rest.

Whatever is wrong with a body, the framework says as it always does.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute

from mlsys.serving.request import ServiceError

JSON = frozenset({b"application/json", b"application/json; charset=utf-8"})
Said = Callable[[Request, Exception], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class _Straight:
    """A route that may be taken so, its function and the model of its body."""

    route: APIRoute
    function: Callable[[Any, Request], Awaitable[Response]]
    model: type[BaseModel]


class Direct:
    """ASGI middleware, the innermost: for POST to functions of a body and the request that return a response.

    said: the response to a ServiceError or an HTTPException.
    """

    def __init__(self, app: Any, routes: Sequence[BaseRoute], said: Said) -> None:
        self.app, self._routes, self._said = app, routes, said
        self._straight: dict[str, _Straight] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or pass on."""
        taken = self._taken(scope)
        if taken is None:
            await self.app(scope, receive, send)
            return
        http = Request(scope, receive, send)
        try:
            asked = await _asked(http, taken.model)
            scope["route"], scope["endpoint"] = taken.route, taken.function
            response = None if asked is None else await taken.function(asked, http)
        except ClientDisconnect:
            return
        except (ServiceError, HTTPException) as error:
            response = await self._said(http, error)
        if response is None:
            await self.app(scope, _again(await http.body(), receive), send)
        else:
            await response(scope, receive, send)

    def _taken(self, scope: Any) -> _Straight | None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
            return None
        if self._straight is None:  # routes are added after this is
            self._straight = {one.route.path: one for one in map(_straight, self._routes) if one is not None}
        taken = self._straight.get(scope["path"])
        return taken if taken is not None and _kind(scope) in JSON else None


def _kind(scope: Any) -> bytes | None:
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    return kinds[0] if len(kinds) == 1 else None


async def _asked(http: Request, model: type[BaseModel]) -> BaseModel | None:
    """None where it is not right."""
    body = await http.body()
    try:
        return model.model_validate(json.loads(body))
    except Exception:  # the framework finds it again, and tells the client
        return None


def _again(body: bytes, receive: Any) -> Any:
    """Receives a body that has been read, then what follows."""
    bodies = [body]

    async def received() -> Any:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        return await receive()

    return received


def _straight(route: BaseRoute) -> _Straight | None:
    """None where its function takes anything but a body and the request, by these names."""
    if (
        not isinstance(route, APIRoute)
        or route.response_model is not None
        or "POST" not in (route.methods or ())
    ):
        return None
    taken = inspect.signature(route.endpoint).parameters
    kind = taken["asked"].annotation if list(taken) == ["asked", "http"] else None
    if not isinstance(kind, type) or not issubclass(kind, BaseModel):
        return None
    return _Straight(route, route.endpoint, kind)
