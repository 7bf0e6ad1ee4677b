"""Prompts to text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mlsys.record import Scalar

Message = dict[str, str]  # `role`: system, user or assistant; `content`: text
Asked = tuple[str, str] | list[Message] | str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as text and as the token ids that the generator reads (empty where it has no tokenizer)."""

    text: str
    tokens: int
    ids: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was generated: the text, the number of new tokens, and their ids."""

    text: str
    tokens: int
    ids: list[int] = field(default_factory=list)


class Generator(Protocol):
    """Writes answers for a batch of prompts. Constructing is cheap, `load` gets the weights."""

    name: str
    max_new_tokens: int

    def load(self, device: str, seed: int) -> None:
        """Fetch and load. `device` is `cpu` or `cuda`; `seed` decides random weights."""
        ...

    def warm(self, max_batch: int) -> None:
        """Run what the first requests would otherwise wait for, at batch sizes up to `max_batch`."""
        ...

    def prompts(self, contents: Sequence[Asked]) -> list[Prompt]:
        """Prompts in the model's own form: of (instruction, question with its passages) pairs, of conversations
        (lists of messages), or of plain texts that are to be continued as they are.
        """
        ...

    @property
    def max_prompt_tokens(self) -> int:
        """How many tokens a prompt may have."""
        ...

    def generate(self, prompts: list[Prompt]) -> list[Answer]:
        """Answers for the whole batch, greedy."""
        ...

    def describe(self) -> dict[str, Scalar]:
        """What the record should say."""
        ...
