"""A new configuration for a service that runs: its replicas are replaced one after the other, and no request is lost.

Begun by SIGHUP or by `POST /admin/reload`. The configuration is the file that the service was started with, read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

from mlsys.errors import UserError
from mlsys.progress import say
from mlsys.serving.options import Server
from mlsys.serving.request import ServiceError


@runtime_checkable
class Renewable(Protocol):
    """A service that can go on with another configuration."""

    async def renew(self, options: Server, config: dict[str, Any]) -> None:
        """Replace what runs. Raises UserError, RuntimeError, TimeoutError or OSError; then all is as it was."""


class Conflict(ServiceError):
    """It cannot be done now, or not here."""

    status = 409


class Reload:
    """`read` gives the server's options and the configuration anew; it raises UserError for a mistake in them."""

    def __init__(self, read: Callable[[], tuple[Server, dict[str, Any]]], service: object) -> None:
        self._read, self._service = read, service
        self._running: asyncio.Task[None] | None = None
        self._last: dict[str, Any] = {"status": "none"}

    def begin(self) -> None:
        """Begin; `state` tells what came of it. Raises Conflict or UserError, and then nothing has changed."""
        if not isinstance(self._service, Renewable):
            raise Conflict("only server=lb with replicas of its own can be reloaded")
        if self._running is not None and not self._running.done():
            raise Conflict("a reload is under way")
        options, config = self._read()
        self._running = asyncio.ensure_future(self._run(self._service, options, config))

    def by_signal(self) -> None:
        """`begin`, with a line on standard error where it cannot."""
        try:
            self.begin()
        except (UserError, ServiceError) as error:
            say(f"not reloaded: {error}")

    def state(self) -> dict[str, Any]:
        """`status` is `none`, `running`, `done` or `failed`; with its times, and the error."""
        return dict(self._last)

    async def stop(self) -> None:
        """End one that is under way."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self, service: Renewable, options: Server, config: dict[str, Any]) -> None:
        self._last = {"status": "running", "started_at": _now()}
        try:
            await service.renew(options, config)
        except (UserError, RuntimeError, TimeoutError, OSError) as error:
            self._last |= {"status": "failed", "error": str(error)}
            say(f"not reloaded, the replicas are as they were: {error}")
        else:
            self._last |= {"status": "done"}
            say("reloaded: all replicas have the new configuration")
        self._last |= {"finished_at": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
