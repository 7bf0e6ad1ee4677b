"""`POST /rag`: the service's own protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlsys.rag.item import Hit
from mlsys.serving.http import schema, sse
from mlsys.serving.http.fields import sampling
from mlsys.serving.http.keyring import whose
from mlsys.serving.request import Request, ServiceError, Wish
from mlsys.serving.stream import Piece, Stream


class Rag:
    """One question. A stream is an event `passages`, events `text`, and at last `done` or `error`."""

    path = "/rag"

    def __init__(self, question: schema.QuestionBody, client: str = "") -> None:
        self._question, self._client = question, whose(client, question.user)

    def request(self, default_timeout_ms: float | None) -> Request:
        """What the service is asked."""
        asked = self._question
        wish = Wish(
            max_tokens=asked.max_tokens,
            exact_tokens=asked.exact_tokens,
            sampling=sampling(asked.temperature, asked.top_p, asked.seed),
            stop=tuple(asked.stop or ()),
            client=self._client,
            priority=asked.priority,
            messages=tuple(message.model_dump() for message in asked.messages),
        )
        stream = Stream() if getattr(asked, "stream", False) else None
        timeout_ms = asked.timeout_ms or default_timeout_ms
        return Request(asked.query, asked.k, timeout_ms, wish=wish, stream=stream, form=self)

    def sent(self) -> dict[str, Any]:
        """What was asked for, in the name of its key."""
        named = {"user": self._client} if self._client else {}
        return {**self._question.model_dump(exclude_defaults=True), "k": self._question.k, **named}

    def whole(self, request: Request, replica: str | None) -> bytes:
        """`schema.Rag`."""
        return schema.rag_body(request, replica)

    def first(self, request: Request, passages: Sequence[Hit]) -> bytes:
        """The passages."""
        content = {"request_id": request.id, "passages": schema.passages(passages)}
        return sse.event(content, "passages")

    def piece(self, piece: Piece) -> bytes:
        """Text, and how many tokens it took."""
        return sse.event({"text": piece.text, "tokens": piece.tokens}, "text")

    def last(self, request: Request, replica: str | None) -> bytes:
        """What `schema.Rag` says beside the passages."""
        content = schema.rag_content(request, replica)
        request.mark("respond")
        return sse.event({**content, "timings_ms": request.timings_ms()}, "done")

    def failed(self, error: ServiceError) -> bytes:
        """The status that the answer would have had, and why."""
        return sse.event({"status": error.status, "detail": error.message}, "error")
