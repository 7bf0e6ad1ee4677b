"""What of an answer may be shown while it is written: no part of a text that ends it, no space that may be its last."""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.rag import stopping
from mlsys.rag.generator.pieces import Pieces


class Text:
    """`shown` is what was given out, without spaces around it. `stopped`: one of the `stops` came, and is not in it."""

    def __init__(self, pieces: Pieces, stops: Sequence[str] = ()) -> None:
        self._pieces, self._stops = pieces, [stop for stop in stops if stop]
        self._held = self.shown = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """What may be shown, now that this token is there."""
        self._held += self._pieces.add(token)
        if not self.shown:
            self._held = self._held.lstrip()
        if (at := stopping.place(self._held, self._stops)) is not None:
            self.stopped = True
            self._held = self._held[:at]
        return self._show(len(self._held) if self.stopped else self._sure())

    def end(self, result: str) -> str:
        """The answer is whole, and this is its text: what was not shown of it yet.

        Nothing where the text is not what was shown and more, as with a tokenizer that mends its text afterwards.
        """
        rest = result[len(self.shown) :] if result.startswith(self.shown) else ""
        self.shown += rest
        return rest

    def _sure(self) -> int:
        """How much of what is held cannot be the beginning of a stop."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return len(self._held) - length
        return len(self._held)

    def _show(self, sure: int) -> str:
        text = self._held[:sure].rstrip()
        self._held = "" if self.stopped else self._held[len(text) :]
        self.shown += text
        return text
