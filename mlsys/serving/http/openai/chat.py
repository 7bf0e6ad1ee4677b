"""`POST /v1/chat/completions`: a conversation; the RAG looks for passages for its last message."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from mlsys.serving.http.openai import asked
from mlsys.serving.http.openai.completing import Completing
from mlsys.serving.http.schema import MAX_MESSAGES
from mlsys.serving.modes import RAG
from mlsys.serving.request import Request


def _joined(content: Any) -> Any:
    """Parts of type text as one text."""
    if not isinstance(content, list):
        return content
    for part in content:
        if not (isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text"):
            raise ValueError('parts other than {"type": "text", "text": "…"} are not supported here')
        if not isinstance(part["text"], str):
            raise ValueError("the text of a part must be a string")
    return "\n".join(part["text"] for part in content)


PART = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    "required": ["type", "text"],
    "additionalProperties": False,
}
CONTENT = {"anyOf": [{"type": "string"}, {"type": "array", "items": PART}]}
Content = Annotated[str, BeforeValidator(_joined), WithJsonSchema(CONTENT)]


class Message(BaseModel):
    """What somebody said. Lists that are empty and nulls, as in an answer that is sent back, say nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)
    role: Literal["system", "developer", "user", "assistant"]
    content: Content

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return {
            name: value
            for name, value in content.items()
            if name in cls.model_fields or value not in (None, [])
        }

    def plain(self) -> dict[str, str]:
        """As chat templates know it."""
        return {"role": "system" if self.role == "developer" else self.role, "content": self.content}


class Conversation(asked.Asked):
    """The body."""

    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)


def body(max_k: int, max_tokens: int | None) -> type[asked.Asked]:
    """The body under this server's limits."""
    return asked.limited(Conversation, "ChatCompletion", max_k, max_tokens)


class Chat(Completing):
    """One conversation."""

    path = "/v1/chat/completions"
    kind, chunk_kind, prefix, subject = "chat.completion", "chat.completion.chunk", "chatcmpl", "messages"
    asked: Conversation

    def request(self, default_timeout_ms: float | None) -> Request:
        """The last message is the query; the RAG takes those before it as the conversation so far."""
        messages = [message.plain() for message in self.asked.messages]
        before = messages[:-1] if self.asked.model == RAG else messages
        return self._asking(messages[-1]["content"], default_timeout_ms, messages=tuple(before))

    def _choice(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def _delta(self, text: str | None, begins: bool) -> dict[str, Any]:
        role = {"role": "assistant"} if begins else {}
        return {
            "delta": {**role, "content": text or ""}
        }  # vLLM's readers look for a text in the last chunk as well
