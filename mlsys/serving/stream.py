"""What a request's client can be told before its answer is whole: the passages, then text as it is written.

Made and read in the event loop. A slow reader gets the pieces that gathered in the meantime as one, so that what is
kept is never more than the answer. So does everyone where there are many: the first comes at once, later ones no more
often than `hold_s` says, since for short answers sending each token by itself costs a process more than writing it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from mlsys.rag.item import Hit

SHORTEST_HOLD_S = 0.001  # a shorter one costs more than it saves


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that came since the last piece, and how many tokens it took (None: not known). Never part of a character."""

    text: str
    tokens: int | None


def _never() -> float:
    return 0.0


class Stream:
    """Filled by the service, read by one client's response. `hold_s`: asked after each piece, how long to gather."""

    def __init__(self) -> None:
        self.hold_s: Callable[[], float] = _never
        self._held = False
        self._passages: Sequence[Hit] | None = None
        self._text: list[str] = []
        self._tokens: int | None = 0
        self._ended = False
        self._ready: list[bytes] = []
        self.replica: str | None = None  # that writes it, where it has a name
        self._changed = asyncio.Event()

    def retrieved(self, passages: Sequence[Hit]) -> None:
        """The passages are known; before any text."""
        self._passages = passages
        self._changed.set()

    def write(self, text: str, tokens: int | None) -> None:
        """`tokens` more tokens are there (None: nobody knows how many), and `text` (possibly empty) with them."""
        self._text.append(text)
        self._tokens = None if tokens is None or self._tokens is None else self._tokens + tokens
        self._tell()

    def pass_on(self, event: bytes) -> None:
        """An event that another service wrote, whole."""
        self._ready.append(event)
        self._tell()

    def end(self) -> None:
        """Nothing more will come: the request's future tells how it ended."""
        self._ended = True
        self._changed.set()

    def _tell(self) -> None:
        if not self._held:
            self._changed.set()

    def _hold(self) -> None:
        if (seconds := self.hold_s()) >= SHORTEST_HOLD_S:
            self._held = True
            asyncio.get_running_loop().call_later(seconds, self._release)

    def _release(self) -> None:
        self._held = False
        self._changed.set()

    async def events(self) -> AsyncIterator[Sequence[Hit] | Piece | bytes]:
        """The passages, then pieces, until the end; or what was passed on."""
        while True:
            if self._passages is not None:
                passages, self._passages = self._passages, None
                yield passages
            held = self._held and not self._ended
            if self._text and not held:
                piece = Piece("".join(self._text), self._tokens)
                self._text, self._tokens = [], 0
                self._hold()
                yield piece
            elif self._ready and not held:
                events, self._ready = b"".join(self._ready), []
                self._hold()
                yield events
            elif self._ended:  # and nothing is left
                return
            else:
                self._changed.clear()
                await self._changed.wait()
