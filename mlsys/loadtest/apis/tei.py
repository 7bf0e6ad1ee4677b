"""`server.api=tei`: `POST /embed` of Text Embeddings Inference, which tells no number of tokens in its body."""

from __future__ import annotations

from typing import Any

from mlsys.loadtest.answer import digest
from mlsys.loadtest.apis import Asking, Settings
from mlsys.loadtest.apis.checks import is_vector, judge
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import OK, Row
from mlsys.loadtest.stream import Streamed

PATH = "/embed"


class Tei:
    """One text, one vector."""

    streams = False

    def __init__(self, settings: Settings) -> None:
        self._parameters = dict(settings.parameters or {})
        self._path = settings.path or PATH
        self.shown = f"POST {self._path}"

    def root(self, url: str) -> str:
        """The address itself."""
        return url

    def asking(self, row: Row, question: Question, k: int, stream: bool) -> Asking:
        """`inputs`, and fields such as `truncate` and `normalize`."""
        return Asking("POST", self._path, {"inputs": question.text, **self._parameters})

    def judge(self, row: Row, question: Question, body: Any, expected_tokens: int | None) -> None:
        """A list of one vector."""
        judge(row, body, lambda: _read(row, body))

    def streamed(self, row: Row) -> Streamed:
        """Vectors come whole."""
        raise NotImplementedError


def _read(row: Row, body: Any) -> None:
    if not (isinstance(body, list) and len(body) == 1 and is_vector(body[0])):
        raise ValueError("the answer is no list of one vector")
    row.outcome, row.answer = OK, digest(str(body[0]))
