"""What every protocol's clients may say of an answer: its length, how its tokens are drawn, what ends it."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from mlsys.rag.generator.stepping import Sampling

MAX_STOPS, MAX_STOP_CHARS = 4, 100
STOP_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARS},
        {
            "type": "array",
            "maxItems": MAX_STOPS,
            "items": {"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARS},
        },
        {"type": "null"},
    ],
    "description": "Texts that end the answer and do not belong to it.",
}


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 2.0 is the integer 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Temperature = Annotated[float, Field(ge=0, le=2, description="0 is greedy, and so is none.")]
TopP = Annotated[float, Field(gt=0, le=1, description="Draw among the likeliest tokens of this share.")]
WHOLE = BeforeValidator(_whole)  # after the limits, which are then part of the schema
Whole = Annotated[int, WHOLE]
Seed = Annotated[
    int,
    Field(ge=-(2**53), le=2**53, description="The same seed draws the same answer, whatever else is asked."),
    WHOLE,
]
Priority = Annotated[
    int,
    Field(ge=-1000, le=1000, description="Larger goes first, where the policy looks at it."),
    WHOLE,
]
USER_CHARS = 200
User = Annotated[
    str,
    Field(max_length=USER_CHARS, description="Whose request it is among those of its key, for fairness."),
]
StopText = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS)]
Stop = Annotated[
    Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None,
    BeforeValidator(_listed),
    WithJsonSchema(STOP_SCHEMA),
]


def tokens(most: int | None) -> Any:
    """The type of a number of tokens that a client may ask for."""
    return Annotated[int, Field(ge=1, le=most), WHOLE]


def sampling(temperature: float | None, top_p: float | None, seed: int | None) -> Sampling:
    """A seed is drawn where none is given and one is needed."""
    if not temperature:
        return Sampling(seed=seed or 0)
    return Sampling(
        temperature, 1.0 if top_p is None else top_p, secrets.randbits(31) if seed is None else seed
    )
