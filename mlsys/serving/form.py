"""How a client asked and wants to be told: what a protocol (`/rag`, OpenAI's) is to everything behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mlsys.rag.item import Hit
from mlsys.serving.stream import Piece

if TYPE_CHECKING:
    from mlsys.serving.request import Request, ServiceError


class Form(Protocol):
    """One request's. What it writes are bodies, and events of a stream (server-sent events, each whole).

    `path`: where it was asked. A balancer asks its replicas there, with `sent()`, and passes their answers on.
    """

    path: str

    def sent(self) -> dict[str, Any]:
        """The body as it was sent."""
        ...

    def whole(self, request: Request, replica: str | None) -> bytes:
        """The answer of a finished request. Writing it is what the stage `respond` measures."""
        ...

    def first(self, request: Request, passages: Sequence[Hit]) -> bytes:
        """What a stream begins with."""
        ...

    def piece(self, piece: Piece) -> bytes:
        """Text that has come."""
        ...

    def last(self, request: Request, replica: str | None) -> bytes:
        """What the stream of a finished request ends with."""
        ...

    def failed(self, error: ServiceError) -> bytes:
        """What a stream ends with that had begun and failed."""
        ...


class Unwritten:
    """The form of a request whose answer is written elsewhere, or not at all."""

    path = ""

    def sent(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def whole(self, request: Request, replica: str | None) -> bytes:
        """Nothing."""
        return b""

    def first(self, request: Request, passages: Sequence[Hit]) -> bytes:
        """Nothing."""
        return b""

    def piece(self, piece: Piece) -> bytes:
        """Nothing."""
        return b""

    def last(self, request: Request, replica: str | None) -> bytes:
        """Nothing."""
        return b""

    def failed(self, error: ServiceError) -> bytes:
        """Nothing."""
        return b""
