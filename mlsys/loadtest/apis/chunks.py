"""Streams whose events are JSON with a part of the text in each, as OpenAI's: what `stream.Pieces` makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlsys.loadtest.apis.checks import said
from mlsys.loadtest.rows import Row
from mlsys.loadtest.stream import Broken, Pieces, parsed

END = b"[DONE]"


class Chunks(Pieces):
    """`text_of`: the text of one event. `whole_of`: the whole answer's body, of all text and the usage if told.

    `ended_by`: whether an event says that the answer is complete; a body that ends without it and without `[DONE]`
    has broken off. None: any end will do.
    """

    def __init__(
        self,
        row: Row,
        text_of: Callable[[dict[str, Any]], str | None],
        whole_of: Callable[[str, Any], Any],
        ended_by: Callable[[dict[str, Any]], bool] | None,
    ) -> None:
        super().__init__(row)
        self._text_of, self._whole_of, self._ended_by = text_of, whole_of, ended_by
        self._usage: Any = None
        self._complete, self._failed = ended_by is None, False

    def take(self, name: str, data: bytes, at_s: float) -> None:
        """One event. Raises Broken for one that may not come, or that tells an error without a status."""
        if self.ended:
            raise Broken("the stream goes on after its end")
        self._row.done_s = at_s
        if data.strip() == END:
            self.ended = self._complete = True
            return
        event = parsed(data)
        if event.get("error"):
            self._refuse(event)
            return
        self._usage = event.get("usage") or self._usage
        self._complete |= self._ended_by is not None and self._ended_by(event)
        if text := self._text_of(event):
            self.tokens += 1
            self._piece(text, at_s)

    def _refuse(self, event: dict[str, Any]) -> None:
        error = event["error"]
        status = error.get("code") if isinstance(error, dict) else None
        if type(status) is not int or not 400 <= status <= 599:
            raise Broken(f"the stream ends with an error: {said(event) or 'without a word'}")
        self._row.status, self._failed = status, True
        self._usage = event

    def whole(self) -> Any:
        """The body. Raises Broken for a stream that broke off."""
        if self._failed:
            return self._usage
        if not self._complete:
            raise Broken(f"the stream ended early, after {self.pieces} pieces")
        return self._whole_of("".join(self._text), self._usage)
