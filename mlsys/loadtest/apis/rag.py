"""`server.api=rag`: this project's own `POST /rag`, whole or as its events."""

from __future__ import annotations

from typing import Any

from mlsys.loadtest import answer, stream
from mlsys.loadtest.apis import Asking, Settings
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import Row

PATH = "/rag"


class Rag:
    """The protocol of every mode of this project."""

    streams = True

    def __init__(self, settings: Settings = Settings()) -> None:  # noqa: B008 - it is frozen
        self._path = settings.path or PATH
        self.shown = f"POST {self._path}"

    def root(self, url: str) -> str:
        """The address itself."""
        return url

    def asking(self, row: Row, question: Question, k: int, stream: bool) -> Asking:
        """A question, what was said before it, and a length where one is asked for."""
        body: dict[str, Any] = {"query": question.text, "k": k}
        if question.history:
            body["messages"] = list(question.history)
        if row.max_tokens is not None:
            body |= {"max_tokens": row.max_tokens, "exact_tokens": True}
        if stream:
            body["stream"] = True
        return Asking("POST", self._path, body)

    def judge(self, row: Row, question: Question, body: Any, expected_tokens: int | None) -> None:
        """As `mlsys.loadtest.answer` says."""
        answer.judge(row, question, body, expected_tokens)

    def streamed(self, row: Row) -> stream.Streamed:
        """The events `passages`, `text`, `done` and `error`."""
        return stream.RagEvents(row)
