"""`POST /v1/completions`: a text to be continued; the RAG takes it as a question."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from mlsys.serving.http.openai import asked
from mlsys.serving.http.openai.completing import Completing
from mlsys.serving.modes import RAG
from mlsys.serving.request import Request


def _single(prompt: Any) -> Any:
    if isinstance(prompt, list):
        if len(prompt) == 1 and isinstance(prompt[0], str):
            return prompt[0]
        raise ValueError(
            "one text is answered at a time; token ids and several prompts are not supported here"
        )
    return prompt


TEXT = {"type": "string", "minLength": 1}
PROMPT = {"anyOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 1}]}


class Continuation(asked.Asked):
    """The body."""

    prompt: Annotated[str, Field(min_length=1), BeforeValidator(_single), WithJsonSchema(PROMPT)]


def body(max_k: int, max_tokens: int | None) -> type[asked.Asked]:
    """The body under this server's limits."""
    return asked.limited(Continuation, "Completion", max_k, max_tokens)


class Completion(Completing):
    """One text."""

    path = "/v1/completions"
    kind, chunk_kind, prefix, subject = "text_completion", "text_completion", "cmpl", "prompt"
    asked: Continuation

    def request(self, default_timeout_ms: float | None) -> Request:
        """The text is the query of the RAG, or what the generator continues."""
        prompt = self.asked.prompt
        return self._asking(prompt, default_timeout_ms, prompt=None if self.asked.model == RAG else prompt)

    def _choice(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _delta(self, text: str | None, begins: bool) -> dict[str, Any]:
        return {"text": text or ""}
