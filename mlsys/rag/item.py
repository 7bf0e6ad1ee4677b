"""What travels through the stages: one item a question, filled in stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.rag.generator import Message
from mlsys.rag.generator.stepping import GREEDY, Sampling

Embedding = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hit:
    """One retrieved passage. `score`: larger is nearer (cosine, inner product, minus the distance)."""

    id: int
    text: str
    source: str
    score: float


@dataclass(slots=True)
class Item:
    """One question on its way. A stage reads the fields of the stages before it and sets its own."""

    query: str
    k: int = 2
    max_tokens: int | None = None  # of the answer; None: as the generator is configured
    exact_tokens: bool | None = None  # just so many, end tokens or not; None: as the generator is configured
    sampling: Sampling = GREEDY
    stop: Sequence[str] = ()  # texts that end the answer
    cancelled: bool = False  # nobody waits for it any more
    retrieves: bool = True  # false: passages are not looked for
    messages: Sequence[Message] = ()  # a conversation; where it retrieves, what was said before the query
    continues: str | None = None  # a plain text to be continued as it is
    embedding: Embedding | None = None  # (dim,)
    passages: list[Hit] = field(default_factory=list)
    prompt: str = ""
    prompt_ids: list[int] = field(default_factory=list)
    prompt_messages: Sequence[Message] = ()
    prompt_tokens: int | None = 0  # None: the server that read it did not say
    prompt_passages: list[int] = field(default_factory=list)  # ids, in the order in which the prompt has them
    result: str = ""
    result_ids: list[int] = field(default_factory=list)
    tokens: int | None = 0  # new tokens in the result; None: the server that wrote it did not say
    failure: Exception | None = None  # why this item, of its batch, could not go on
    finish: str = ""  # why it ended: `stop` (an end token or a stop text) or `length`; empty: not told


class Stage(Protocol):
    """One step of the pipeline: takes a batch, sets fields on each item, knows nothing of who asked."""

    name: str

    def __call__(self, items: list[Item]) -> None:
        """Work on the whole batch. An error fails all of it: the caller decides about trying one by one."""
        ...
