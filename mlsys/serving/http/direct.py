"""A route whose JSON body goes to its function at once: a framework's way for any function takes as long as the rest.

Only a body that is right is taken so. Whatever is wrong with one, the framework says as it always does.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException

JSON = ("application/json", "application/json; charset=utf-8")
Handle = Callable[[Request], Coroutine[Any, Any, Response]]


class Direct(APIRoute):
    """For functions of a body and the request that return a response; all others are FastAPI's."""

    def get_route_handler(self) -> Handle:
        """What answers a request."""
        usual: Handle = super().get_route_handler()
        model = _model(self.endpoint)
        if model is None or self.response_model is not None:
            return usual
        endpoint = self.endpoint

        async def direct(http: Request) -> Response:
            if http.headers.get("content-type") not in JSON:
                return await usual(http)
            try:
                asked = model.model_validate(json.loads(await http.body()))
            except HTTPException:
                raise
            except Exception:  # the usual way finds it again, and tells the client
                return await usual(http)
            response: Response = await endpoint(asked, http)
            return response

        return direct


def _model(endpoint: Callable[..., Any]) -> type[BaseModel] | None:
    """The body of a function that takes one and the request, by these names; None of another."""
    taken = inspect.signature(endpoint).parameters
    if list(taken) != ["asked", "http"]:
        return None
    kind = taken["asked"].annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
