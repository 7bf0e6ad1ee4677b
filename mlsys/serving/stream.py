"""What a request's client can be told before its answer is whole: the passages, then text as it is written.

Made and read in the event loop. A slow reader gets the pieces that gathered in the meantime as one, so that what is
kept is never more than the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from mlsys.rag.item import Hit


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that came since the last piece, and how many tokens it took. Never part of a character."""

    text: str
    tokens: int


class Stream:
    """Filled by the service, read by one client's response."""

    def __init__(self) -> None:
        self._passages: Sequence[Hit] | None = None
        self._text: list[str] = []
        self._tokens = 0
        self._ended = False
        self._ready: list[bytes] = []
        self.replica: str | None = None  # that writes it, where it has a name
        self._changed = asyncio.Event()

    def retrieved(self, passages: Sequence[Hit]) -> None:
        """The passages are known; before any text."""
        self._passages = passages
        self._changed.set()

    def write(self, text: str, tokens: int) -> None:
        """`tokens` more tokens are there, and `text` (possibly empty) with them."""
        self._text.append(text)
        self._tokens += tokens
        self._changed.set()

    def pass_on(self, event: bytes) -> None:
        """An event that another service wrote, whole."""
        self._ready.append(event)
        self._changed.set()

    def end(self) -> None:
        """Nothing more will come: the request's future tells how it ended."""
        self._ended = True
        self._changed.set()

    async def events(self) -> AsyncIterator[Sequence[Hit] | Piece | bytes]:
        """The passages, then pieces, until the end; or what was passed on."""
        while True:
            if self._passages is not None:
                passages, self._passages = self._passages, None
                yield passages
            if self._text:
                piece = Piece("".join(self._text), self._tokens)
                self._text, self._tokens = [], 0
                yield piece
            elif self._ready:
                events, self._ready = b"".join(self._ready), []
                yield events
            elif self._ended:
                return
            else:
                self._changed.clear()
                await self._changed.wait()
