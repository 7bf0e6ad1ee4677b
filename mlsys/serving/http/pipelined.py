"""Requests that a client sends before it has the answer to an earlier one, and what becomes of them when it leaves.

Uvicorn stops reading where one stands behind another, so it does not see the client leave, and then tells the newest
request of it instead of the one that is at work.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BEHIND = 8  # until so many stand behind the one at work it is still seen that a client leaves


class Pipelined(HttpToolsProtocol):
    """Uvicorn's protocol, whose client may leave with requests of it standing behind one another."""

    def __init__(self, **knobs: Any) -> None:
        super().__init__(**knobs)
        self._answered: Any = None  # the cycle that is at work; `cycle` is the newest

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def on_headers_complete(self) -> None:
        """The head of one is here."""
        super().on_headers_complete()
        if len(self.pipeline) < MOST_BEHIND:
            self.flow.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client of the request at work is gone. Those behind it are not begun."""
        if self.pipeline:
            self.pipeline.clear()
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)
