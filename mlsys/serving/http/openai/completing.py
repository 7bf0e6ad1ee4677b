"""What chat and text completions are answered with alike: bodies, chunks, usage."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from mlsys.rag.item import Hit
from mlsys.serving.http import schema, sse
from mlsys.serving.http.keyring import whose
from mlsys.serving.http.openai import errors
from mlsys.serving.http.openai.asked import Asked
from mlsys.serving.request import Request, ServiceError
from mlsys.serving.stream import Piece, Stream


class Completing(ABC):
    """One request's form. `subject`: the field that a prompt too long is blamed on."""

    path: str
    kind: str
    chunk_kind: str
    prefix: str
    subject: str

    def __init__(self, asked: Asked, client: str) -> None:
        self.asked, self.client = asked, whose(client, asked.user)
        self._created, self._id = int(time.time()), ""

    @abstractmethod
    def request(self, default_timeout_ms: float | None) -> Request:
        """What the service is asked. Raises Unanswerable."""

    @abstractmethod
    def _choice(self, text: str) -> dict[str, Any]:
        """The text of a whole answer in a choice."""

    @abstractmethod
    def _delta(self, text: str | None, begins: bool) -> dict[str, Any]:
        """The same of a chunk; None: there is no more."""

    def _asking(self, query: str, default_timeout_ms: float | None, **asked: Any) -> Request:
        wish = self.asked.wish(self.client, **asked)
        stream = Stream() if self.asked.stream else None
        timeout_ms = self.asked.timeout_ms or default_timeout_ms
        request = Request(query, self.asked.k, timeout_ms, wish=wish, stream=stream, form=self)
        self._id = f"{self.prefix}-{request.id.replace('-', '')}"
        return request

    def sent(self) -> dict[str, Any]:
        """What was asked for, in the name of its key."""
        named = {"user": self.client} if self.client else {}
        return {**self.asked.model_dump(exclude_unset=True, exclude_none=True), **named}

    def whole(self, request: Request, replica: str | None) -> bytes:
        """One choice and the usage."""
        item = request.item
        choice = {
            **self._choice(item.result),
            "index": 0,
            "finish_reason": item.finish or "stop",
            "logprobs": None,
        }
        content = {**self._head(self.kind), "choices": [choice], "usage": usage(request)}
        if request.wish.rag:
            content["passages"] = schema.passages(item.passages)
        written = json.dumps(content, allow_nan=False).encode()
        request.mark("respond")
        return written

    def first(self, request: Request, passages: Sequence[Hit]) -> bytes:
        """A chunk without text; the RAG's has the passages."""
        extra = {"passages": schema.passages(passages)} if request.wish.rag else {}
        return self._chunk(self._delta("", begins=True), None, **extra)

    def piece(self, piece: Piece) -> bytes:
        """A chunk with text; tokens that complete no character are none."""
        return self._chunk(self._delta(piece.text, begins=False), None) if piece.text else b""

    def last(self, request: Request, replica: str | None) -> bytes:
        """Why it ended, the usage where it is wanted, and the end."""
        events = self._chunk(self._delta(None, begins=False), request.item.finish or "stop")
        if self.asked.include_usage:
            events += sse.event({**self._head(self.chunk_kind), "choices": [], "usage": usage(request)})
        request.mark("respond")
        return events + sse.DONE

    def failed(self, error: ServiceError) -> bytes:
        """The error, and the end."""
        return sse.event(errors.of(error, self.subject)) + sse.DONE

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self.asked.model}

    def _chunk(self, delta: dict[str, Any], reason: str | None, **extra: Any) -> bytes:
        choice = {**delta, "index": 0, "finish_reason": reason, "logprobs": None}
        counted = {"usage": None} if self.asked.include_usage else {}
        return sse.event({**self._head(self.chunk_kind), "choices": [choice], **counted, **extra})


def usage(request: Request) -> dict[str, int] | None:
    """Tokens read and written; None where the engine at an address does not tell."""
    read, written = request.item.prompt_tokens, request.item.tokens
    if read is None or written is None:
        return None
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
