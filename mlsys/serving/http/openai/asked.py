"""What chat and text completions are asked with alike."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from mlsys.serving.http.fields import (
    WHOLE,
    Priority,
    Seed,
    Stop,
    Temperature,
    TopP,
    User,
    Whole,
    sampling,
    tokens,
)
from mlsys.serving.http.schema import DEFAULT_K, MAX_TIMEOUT_MS
from mlsys.serving.modes import RAG
from mlsys.serving.request import Wish

# Fields that are known and not supported, with the values that ask for nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "modalities": (["text"],),
    "n": (1,),
    "parallel_tool_calls": (True, False),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("auto", "none"),
    "tools": ([],),
    "top_logprobs": (0,),
}


def without_neutral(content: Any) -> Any:
    """What was sent but for nulls and fields that ask for nothing."""
    if not isinstance(content, dict):
        return content
    return {
        name: value for name, value in content.items() if value is not None and not _asks_nothing(name, value)
    }


def _asks_nothing(name: str, value: Any) -> bool:
    return any(
        value == neutral and isinstance(value, bool) == isinstance(neutral, bool)
        for neutral in NEUTRAL.get(name, ())
    )


class StreamOptions(BaseModel):
    """`include_usage`: a last chunk without choices tells the tokens."""

    model_config = ConfigDict(extra="forbid", strict=True)
    include_usage: bool = False


class Asked(BaseModel):
    """The fields of both. `k`, `timeout_ms`, `priority` and `ignore_eos` (as in vLLM) go beyond OpenAI's."""

    model_config = ConfigDict(extra="forbid", strict=True)
    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Whole | None = None
    max_completion_tokens: Whole | None = None
    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    seed: Seed | None = None
    stop: Stop = None
    n: Annotated[Literal[1], WHOLE] = 1
    user: User | None = None
    k: Whole = DEFAULT_K
    timeout_ms: float | None = Field(None, gt=0, le=MAX_TIMEOUT_MS)
    priority: Priority = 0
    ignore_eos: bool = Field(False, description="Just max_tokens, whatever the model would say.")

    @model_validator(mode="before")
    @classmethod
    def _without_neutral(cls, content: Any) -> Any:
        return without_neutral(content)

    @property
    def limit(self) -> int | None:
        """Length of the answer at most; `max_tokens` is the older name, and load testers send both everywhere."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the number of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def wish(self, client: str, **asked: Any) -> Wish:
        """What is asked for, with `asked` of this protocol's own."""
        return Wish(
            max_tokens=self.limit,
            exact_tokens=True if self.ignore_eos else None,
            sampling=sampling(self.temperature, self.top_p, self.seed),
            stop=tuple(self.stop or ()),
            client=client,
            priority=self.priority,
            rag=self.model == RAG,
            **asked,
        )


def limited(base: type[Asked], name: str, max_k: int, max_tokens: int | None) -> type[Asked]:
    """`base` under this server's limits."""
    length = (tokens(max_tokens) | None, Field(None, description="At most server.max_tokens."))
    return create_model(
        name,
        __base__=base,
        max_tokens=length,
        max_completion_tokens=length,
        k=(
            Annotated[int, Field(ge=1, le=max_k), WHOLE],
            Field(min(DEFAULT_K, max_k), description="Passages."),
        ),
    )
