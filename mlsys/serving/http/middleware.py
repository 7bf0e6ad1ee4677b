"""What stands before the application: the API key and the size of a body, checked before anything is read
or parsed.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from mlsys.serving.http.openai import errors

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
GUARDED = ("/rag", "/stats", "/v1")


class Middleware:
    """ASGI middleware. The key comes as `Authorization: Bearer KEY` or `X-API-Key: KEY`; it is never
    logged.
    """

    def __init__(self, app: Application, key: str | None, max_body_bytes: int) -> None:
        self.app, self.max_body_bytes = app, max_body_bytes
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer 401 or 413, or pass on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if not self._allowed(scope["path"], headers):
            extra = [(b"www-authenticate", b"Bearer")]
            await _refuse(
                send, scope["path"], 401, "an API key is required: Authorization: Bearer KEY", extra
            )
        elif int(headers.get(b"content-length", b"0") or 0) > self.max_body_bytes:
            await _refuse(send, scope["path"], 413, self._too_large, [(b"connection", b"close")])
        else:
            if scope["method"] == "HEAD":  # what GET would say; the server leaves the body out
                scope = {**scope, "method": "GET"}
            await self.app(scope, self._counted(receive), send)

    @property
    def _too_large(self) -> str:
        return f"body: larger than server.max_body_bytes={self.max_body_bytes}"

    def _allowed(self, path: str, headers: dict[bytes, bytes]) -> bool:
        if self._key is None or not path.startswith(GUARDED):
            return True
        return hmac.compare_digest(key_of(headers), self._key)

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_body_bytes:
                raise HTTPException(413, self._too_large, {"connection": "close"})
            return message

        return counted


def key_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The key that a client sent, if any; names of headers are in lower case."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    bearer = token.strip() if scheme.lower() == b"bearer" else b""
    return headers.get(b"x-api-key", bearer)


async def _refuse(
    send: Send, path: str, status: int, detail: str, headers: list[tuple[bytes, bytes]]
) -> None:
    content = errors.body(status, detail) if path.startswith(errors.PREFIX) else {"detail": detail}
    body = json.dumps(content).encode()
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
