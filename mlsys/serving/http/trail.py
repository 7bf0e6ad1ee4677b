"""Each request has an id, which its answer and its line in the log carry, through a balancer too.

A line is one JSON object. It holds no question and no key: a client is named by a hash of its key.
"""

from __future__ import annotations

import json
import re
import sys
import time
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from mlsys.errors import UserError
from mlsys.serving.http.keyring import named, sent_with

HEADER = "x-request-id"
REFUSED = "mlsys.refused"  # in a scope: the status of an answer that was given before the request had arrived
CLIENT_LEFT = 499
TAKEN = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
current: ContextVar[dict[str, Any] | None] = ContextVar("request", default=None)


def request_id() -> str | None:
    """The id of the request that is being answered."""
    entry = current.get()
    return entry["id"] if entry else None


def note(**more: Any) -> None:
    """Add to the line of the request that is being answered."""
    if (entry := current.get()) is not None:
        entry.update(more)


def opened(where: str | None) -> TextIO | None:
    """The log that `server.request_log` names: `stderr` or a path, to whose end it is written. Raises UserError."""
    if where is None:
        return None
    if where == "stderr":
        return sys.stderr
    try:
        return Path(where).open("a", buffering=1)
    except OSError as error:
        raise UserError(f"server.request_log={where} cannot be written: {error.strerror}") from None


class Trail:
    """ASGI middleware, the outermost. An id that the client sends is kept where it is short and plain."""

    def __init__(self, app: Any, log: TextIO | None) -> None:
        self.app, self._log = app, log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on, with the id on the answer and a line when it has ended."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        given = headers.get(HEADER.encode(), b"")
        own = given.decode() if TAKEN.fullmatch(given) else uuid.uuid4().hex
        entry: dict[str, Any] = {"id": own, "status": 0, "bytes": 0}
        token, started = current.set(entry), time.perf_counter()

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER.encode(), own.encode())]
            else:
                entry["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, sent)
            entry["status"] = scope.get(REFUSED) or entry["status"] or CLIENT_LEFT
        finally:
            current.reset(token)
            if self._log is not None:
                self._write(scope, named(sent_with(headers)), entry, time.perf_counter() - started)

    def _write(self, scope: Any, client: str, entry: dict[str, Any], seconds: float) -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "method": scope["method"],
            "path": scope["path"],
            "client": client,
            "address": (scope.get("client") or ("",))[0],
            "duration_ms": round(seconds * 1e3, 3),
            **entry,
        }
        if self._log is not None:
            self._log.write(json.dumps(line, ensure_ascii=False) + "\n")
