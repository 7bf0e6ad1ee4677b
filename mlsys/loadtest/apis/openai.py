"""`server.api=openai`, `completions` and `embeddings`: what vLLM, SGLang, llama-server, Ollama, TGI and gateways speak.

An answer of a drawn length (`loadtest.output_tokens`) is asked for with `ignore_eos`, which these engines know and
OpenAI's own service does not: `server.parameters={ignore_eos: null}` leaves it out, and the length is then a limit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pydantic import Field

from mlsys.loadtest.answer import digest
from mlsys.loadtest.apis import Asking, Settings
from mlsys.loadtest.apis.checks import Count, Read, accept, check_length, is_vector, judge, validated
from mlsys.loadtest.apis.chunks import Chunks
from mlsys.loadtest.questions import Question
from mlsys.loadtest.rows import OK, Row
from mlsys.loadtest.stream import Streamed

VERSION = "/v1"
REASONING = (
    "reasoning_content",
    "reasoning",
)  # vLLM's and SGLang's names for what a model thinks before it answers


class Usage(Read):
    """Tokens read and written."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


class Message(Read):
    """What the model said."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Choice(Read):
    """One answer: `text` of a completion, `message` of a conversation."""

    text: str | None = None
    message: Message | None = None


class Completed(Read):
    """The body of both."""

    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None


class Vector(Read):
    """One vector; its numbers are looked at when it is judged, text is base64."""

    embedding: list[Any] | str


class Embedded(Read):
    """The body of vectors."""

    data: list[Vector] = Field(min_length=1)
    usage: Usage | None = None


class _OpenAI:
    """What the three paths share: the address, the model, and fields of the user's own."""

    path: str

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asked = settings.path or VERSION + self.path
        self.shown = f"POST {self._asked}"

    def root(self, url: str) -> str:
        """The address without `/v1`, with which clients of OpenAI's name it."""
        return url.removesuffix(VERSION)

    def _asking(self, body: dict[str, Any]) -> Asking:
        model = {} if self._settings.model is None else {"model": self._settings.model}
        whole = {**model, **body, **(self._settings.parameters or {})}
        return Asking("POST", self._asked, {name: one for name, one in whole.items() if one is not None})


class _Texts(_OpenAI, ABC):
    """Texts are written, whole or in chunks."""

    streams = True

    @abstractmethod
    def _prompt(self, question: Question) -> dict[str, Any]: ...

    @abstractmethod
    def _text(self, choice: dict[str, Any]) -> Any: ...

    @abstractmethod
    def _choice(self, text: str) -> dict[str, Any]: ...

    def asking(self, row: Row, question: Question, k: int, stream: bool) -> Asking:
        """A prompt; the number of passages is the service's own affair."""
        length = {} if row.max_tokens is None else {"max_tokens": row.max_tokens, "ignore_eos": True}
        pieces = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        return self._asking(self._prompt(question) | length | pieces)

    def judge(self, row: Row, question: Question, body: Any, expected_tokens: int | None) -> None:
        """A text that is not empty, with as many tokens as were asked for by the service's own count."""
        judge(row, body, lambda: self._read(row, question, body))

    def _read(self, row: Row, question: Question, body: Any) -> None:
        answer: Completed = validated(Completed, body)
        usage, choice = answer.usage or Usage(), answer.choices[0]
        row.prompt_tokens = usage.prompt_tokens
        exact = (self._settings.parameters or {}).get("ignore_eos", True) is True
        check_length(row, usage.completion_tokens, exact)
        said = choice.message or Message()
        thought = said.reasoning_content or said.reasoning or ""
        accept(row, question, choice.text or (thought + (said.content or "")), usage.completion_tokens)

    def streamed(self, row: Row) -> Streamed:
        """Chunks; the last but one says why the answer ended, the last the usage."""
        return Chunks(row, self._piece, self._whole, lambda event: bool(_first(event).get("finish_reason")))

    def _piece(self, event: dict[str, Any]) -> str | None:
        text = self._text(_first(event))
        return text if isinstance(text, str) else None

    def _whole(self, text: str, usage: Any) -> dict[str, Any]:
        return {"choices": [self._choice(text)], "usage": usage}


class Chat(_Texts):
    """A conversation: the question after what was said before it in its session."""

    path = "/chat/completions"

    def _prompt(self, question: Question) -> dict[str, Any]:
        return {"messages": [*question.history, {"role": "user", "content": question.text}]}

    def _text(self, choice: dict[str, Any]) -> Any:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return None
        return next((delta[name] for name in ("content", *REASONING) if delta.get(name)), None)

    def _choice(self, text: str) -> dict[str, Any]:
        return {"message": {"content": text}}


class Completions(_Texts):
    """A text that is continued."""

    path = "/completions"

    def _prompt(self, question: Question) -> dict[str, Any]:
        return {"prompt": question.text}

    def _text(self, choice: dict[str, Any]) -> Any:
        return choice.get("text")

    def _choice(self, text: str) -> dict[str, Any]:
        return {"text": text}


class Embeddings(_OpenAI):
    """A question's vector."""

    path = "/embeddings"
    streams = False

    def asking(self, row: Row, question: Question, k: int, stream: bool) -> Asking:
        """One text."""
        return self._asking({"input": question.text})

    def judge(self, row: Row, question: Question, body: Any, expected_tokens: int | None) -> None:
        """A vector of finite numbers, or its base64."""
        judge(row, body, lambda: self._read(row, body))

    def _read(self, row: Row, body: Any) -> None:
        answer: Embedded = validated(Embedded, body)
        vector = answer.data[0].embedding
        if not vector or not (isinstance(vector, str) or is_vector(vector)):
            raise ValueError("the answer's vector is empty, or has what is no number")
        row.prompt_tokens = (answer.usage or Usage()).prompt_tokens
        row.outcome, row.answer = OK, digest(str(vector))

    def streamed(self, row: Row) -> Streamed:
        """Vectors come whole."""
        raise NotImplementedError


def _first(event: dict[str, Any]) -> dict[str, Any]:
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}
