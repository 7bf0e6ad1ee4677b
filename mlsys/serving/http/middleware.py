"""What stands before the application: the API key, how often it may ask and the size of a body, checked before
anything is read or parsed.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from mlsys.serving.http.keyring import Keyring, named, sent_with
from mlsys.serving.http.openai import errors
from mlsys.serving.http.rates import Rates

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
ADMIN = "/admin"
GUARDED = ("/rag", "/stats", "/v1", ADMIN)
OPERATOR = "only the first key of server.api_key may do this"


class Middleware:
    """ASGI middleware. The key comes as `Authorization: Bearer KEY` or `X-API-Key: KEY`; it is never
    logged.
    """

    def __init__(
        self, app: Application, keyring: Keyring, max_body_bytes: int, rates: Rates | None = None
    ) -> None:
        self.app, self.max_body_bytes = app, max_body_bytes
        self._keyring, self._rates = keyring, rates

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer 401, 403, 429 or 413, or pass on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        key, path = sent_with(headers), scope["path"]
        if not self._keyring.open and path.startswith(GUARDED) and not self._keyring.knows(key):
            extra = [(b"www-authenticate", b"Bearer")]
            await _refuse(send, path, 401, "an API key is required: Authorization: Bearer KEY", extra)
        elif path.startswith(ADMIN) and not self._keyring.is_first(key):
            await _refuse(send, path, 403, OPERATOR, [])
        elif wait_s := self._wait_s(scope, key):
            again = [(b"retry-after", str(wait_s).encode())]
            await _refuse(send, path, 429, "more requests than server.rate_per_key allows", again)
        elif int(headers.get(b"content-length", b"0") or 0) > self.max_body_bytes:
            await _refuse(send, path, 413, self._too_large, [(b"connection", b"close")])
        else:
            if scope["method"] == "HEAD":  # what GET would say; the server leaves the body out
                scope = {**scope, "method": "GET"}
            await self.app(scope, self._counted(receive), send)

    def _wait_s(self, scope: Message, key: bytes) -> int:
        if self._rates is None or scope["method"] != "POST" or not scope["path"].startswith(GUARDED):
            return 0
        address = (scope.get("client") or ("",))[0]
        return self._rates.wait_s(address if self._keyring.open else named(key))

    @property
    def _too_large(self) -> str:
        return f"body: larger than server.max_body_bytes={self.max_body_bytes}"

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


async def _refuse(
    send: Send, path: str, status: int, detail: str, headers: list[tuple[bytes, bytes]]
) -> None:
    content = errors.body(status, detail) if path.startswith(errors.PREFIX) else {"detail": detail}
    body = json.dumps(content).encode()
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
