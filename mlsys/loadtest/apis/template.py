"""`server.api=template`: any service that takes a question over HTTP, by a request's form and the answer's place in it.

`{query}`, `{k}` and `{max_tokens}` in `server.path` and `server.body` stand for a request's own; where a text of the
body is nothing but one of them, it becomes that value with its type. `server.answer` and `server.tokens` are JSONPath
(RFC 9535). In a stream of server-sent events `server.answer` finds the text of each event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from mlsys import extras
from mlsys.errors import UserError, one_line
from mlsys.loadtest.apis import Asking, Settings
from mlsys.loadtest.apis.checks import accept, judge
from mlsys.loadtest.apis.chunks import Chunks
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import Row
from mlsys.loadtest.stream import Streamed

METHODS = ("POST", "PUT", "GET")
QUERY = "{query}"
PLACES = re.compile(r"\{(?:query|k|max_tokens)\}")
Find = Callable[[Any], list[Any]]


class Template:
    """Raises UserError for a form without a question, without a place of the answer, or with a wrong JSONPath."""

    streams = True

    def __init__(self, settings: Settings) -> None:
        if settings.method not in METHODS:
            raise UserError(f"server.method={settings.method} is none of {', '.join(METHODS)}")
        if not (settings.path or "").startswith("/"):
            raise UserError(
                f"server.path={settings.path} must begin with /: server.api=template asks at that path"
            )
        if QUERY not in f"{settings.path}{settings.body}":
            raise UserError(
                "server.body has no {query}, and neither has server.path: no question would be asked"
            )
        if settings.answer is None:
            raise UserError("server.answer must be the JSONPath of the answer's text, such as $.answer")
        self._settings = settings
        self._answer = _path("server.answer", settings.answer)
        self._tokens = None if settings.tokens is None else _path("server.tokens", settings.tokens)
        self.shown = f"{settings.method} {settings.path}"

    def root(self, url: str) -> str:
        """The address itself."""
        return url

    def asking(self, row: Row, question: Question, k: int, stream: bool) -> Asking:
        """The form with this request's own values."""
        values = {QUERY: question.text, "{k}": k, "{max_tokens}": row.max_tokens}
        path = PLACES.sub(lambda place: quote(_text(values[place[0]]), safe=""), self._settings.path or "")
        return Asking(self._settings.method, path, _filled(self._settings.body, values))

    def judge(self, row: Row, question: Question, body: Any, expected_tokens: int | None) -> None:
        """A text where it should be, that is not empty."""
        judge(row, body, lambda: self._read(row, question, body))

    def _read(self, row: Row, question: Question, body: Any) -> None:
        if isinstance(body, _Streamed):
            accept(row, question, body.text, None)
            return
        found = self._answer(body)
        if not found:
            raise ValueError(f"the answer has nothing at {self._settings.answer}")
        if not isinstance(found[0], str):
            raise ValueError(f"what the answer has at {self._settings.answer} is no text")
        tokens = [
            one for one in (self._tokens(body) if self._tokens else []) if type(one) is int and one >= 0
        ]
        accept(row, question, found[0], tokens[0] if tokens else None)

    def streamed(self, row: Row) -> Streamed:
        """The text of each event."""
        return Chunks(row, self._piece, lambda text, usage: _Streamed(text), None)

    def _piece(self, event: dict[str, Any]) -> str | None:
        return "".join(one for one in self._answer(event) if isinstance(one, str)) or None


class _Streamed:
    """What came piece by piece and was joined."""

    def __init__(self, text: str) -> None:
        self.text = text


def _path(option: str, text: str) -> Find:
    if lacking := extras.absent("jsonpath"):
        raise UserError(f"{option}: {lacking}")
    import jsonpath

    try:
        compiled = jsonpath.compile(text, strict=True)
    except jsonpath.JSONPathError as error:
        raise UserError(f"{option}={text} is no JSONPath: {one_line(error)}") from None
    return lambda body: list(compiled.findall(body)) if isinstance(body, (dict, list)) else []


def _filled(form: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(form, dict):
        return {name: _filled(one, values) for name, one in form.items()}
    if isinstance(form, list):
        return [_filled(one, values) for one in form]
    if not isinstance(form, str):
        return form
    if form in values:
        return values[form]
    return PLACES.sub(lambda place: _text(values[place[0]]), form)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
