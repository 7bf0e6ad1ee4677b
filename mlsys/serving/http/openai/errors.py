"""OpenAI's form of an error, for everything under `/v1`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel

from mlsys.serving.request import NotFound, ServiceError

PREFIX = "/v1"
KINDS: dict[int, tuple[str, str | None]] = {  # type and code by status
    401: ("authentication_error", "invalid_api_key"),
    404: ("not_found_error", None),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    504: ("server_error", "timeout"),
}


class Problem(BaseModel):
    """What was wrong: `param` names the field, where one is to blame."""

    message: str
    type: str
    param: str | None
    code: str | None


class Body(BaseModel):
    """An error's body."""

    error: Problem


def body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The error as JSON."""
    kind, usual = KINDS.get(status, ("invalid_request_error" if status < 500 else "server_error", None))
    return {"error": {"message": message, "type": kind, "param": param, "code": code or usual}}


def of(error: ServiceError, param: str | None = None) -> dict[str, Any]:
    """The error that a service has told. `param` is what a client's mistake is blamed on."""
    if isinstance(error, NotFound):
        return body(404, error.message, "model", "model_not_found")
    return body(error.status, error.message, param if error.status < 500 else None)


def response(error: ServiceError, param: str | None = None) -> JSONResponse:
    """The same as a response; when to come back is in `Retry-After`."""
    headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s is not None else None
    return JSONResponse(of(error, param), error.status, headers)


def invalid(faults: Sequence[Any]) -> JSONResponse:
    """400 for the first of pydantic's faults."""
    fault = faults[0]
    if fault["type"] == "json_invalid" or len(fault["loc"]) < 2:
        return JSONResponse(body(400, f"the body: {fault['msg']}"), 400)
    param = path(fault["loc"][1:])
    unknown = fault["type"] == "extra_forbidden"
    said = "not supported here" if unknown else fault["msg"].removeprefix("Value error, ")
    code = "unsupported_parameter" if unknown else None
    return JSONResponse(body(400, f"{param}: {said}", param, code), 400)


def path(places: Sequence[str | int]) -> str:
    """`messages[0].content`."""
    words = (f"[{place}]" if isinstance(place, int) else f".{place}" for place in places)
    return "".join(words).removeprefix(".")
