"""`POST /v1/embeddings`: the vectors of the service's own embedder."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from mlsys.rag.item import Hit
from mlsys.serving.http import sse
from mlsys.serving.http.fields import User
from mlsys.serving.http.keyring import whose
from mlsys.serving.http.openai import errors
from mlsys.serving.http.openai.asked import without_neutral
from mlsys.serving.http.schema import MAX_TIMEOUT_MS
from mlsys.serving.request import Request, ServiceError, Wish
from mlsys.serving.stream import Piece

MAX_INPUTS = 256


def _listed(texts: Any) -> Any:
    if isinstance(texts, list) and any(isinstance(text, int | list) for text in texts):
        raise ValueError("token ids are not supported here")
    return [texts] if isinstance(texts, str) else texts


def body(max_chars: int) -> type[BaseModel]:
    """The body under this server's limits."""
    text = {"type": "string", "minLength": 1, "maxLength": max_chars}
    many = {"type": "array", "items": text, "minItems": 1, "maxItems": MAX_INPUTS}

    class Embedding(Texts):
        """The body."""

        input: Annotated[
            list[Annotated[str, Field(min_length=1, max_length=max_chars)]],
            Field(min_length=1, max_length=MAX_INPUTS),
            BeforeValidator(_listed),
            WithJsonSchema({"anyOf": [text, many]}),
        ]

    return Embedding


class Texts(BaseModel):
    """Texts to be embedded. `input_type` goes beyond OpenAI's: some models embed questions and passages differently."""

    model_config = ConfigDict(extra="forbid", strict=True)
    model: str
    input: list[str]
    encoding_format: Literal["float", "base64"] = "float"
    input_type: Literal["query", "passage"] = "query"
    user: User | None = None
    timeout_ms: float | None = Field(None, gt=0, le=MAX_TIMEOUT_MS)

    @model_validator(mode="before")
    @classmethod
    def _without_neutral(cls, content: Any) -> Any:
        return without_neutral(content)


class Embeddings:
    """One request's form."""

    path = "/v1/embeddings"
    subject = "input"

    def __init__(self, asked: Texts, client: str) -> None:
        self.asked, self.client = asked, whose(client, asked.user)

    def request(self, default_timeout_ms: float | None) -> Request:
        """What the service is asked."""
        wish = Wish(
            client=self.client, rag=False, embeds=tuple(self.asked.input),
            embeds_passages=self.asked.input_type == "passage",
        )  # fmt: skip
        return Request("", 1, self.asked.timeout_ms or default_timeout_ms, wish=wish, form=self)

    def sent(self) -> dict[str, Any]:
        """What was asked for."""
        return self.asked.model_dump(exclude_unset=True, exclude_none=True)

    def whole(self, request: Request, replica: str | None) -> bytes:
        """A vector for each text, in their order; `request.item` is (vectors, tokens)."""
        vectors, tokens = request.item
        as_is = self.asked.encoding_format == "float"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": vector.tolist()
                if as_is
                else base64.b64encode(vector.astype("<f4").tobytes()).decode(),
            }
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        content = {"object": "list", "data": data, "model": self.asked.model, "usage": usage}
        written = json.dumps(content, allow_nan=False).encode()
        request.mark("respond")
        return written

    def first(self, request: Request, passages: Sequence[Hit]) -> bytes:
        """There are no streams of vectors."""
        raise NotImplementedError

    def piece(self, piece: Piece) -> bytes:
        """There are no streams of vectors."""
        raise NotImplementedError

    def last(self, request: Request, replica: str | None) -> bytes:
        """There are no streams of vectors."""
        raise NotImplementedError

    def failed(self, error: ServiceError) -> bytes:
        """As in the streams of others."""
        return sse.event(errors.of(error, self.subject)) + sse.DONE
