"""A pipeline that only generates: of an engine in virtual time nothing but its cost is wanted."""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.errors import UserError
from mlsys.rag.generator import Generator
from mlsys.rag.item import Item, Stage
from mlsys.rag.stages import GenerateStage
from mlsys.record import Scalar
from mlsys.serving.worker import Embedded


class Bare:
    """The question is the prompt, and `generator` answers it."""

    device = "virtual"

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.stages: tuple[Stage, ...] = (_Prompt(generator), GenerateStage(generator))

    def load(self) -> None:
        """Nothing to load."""

    def embed(self, texts: Sequence[str], passages: bool) -> Embedded:
        """Raises UserError: there is no embedder."""
        raise UserError("the engine in virtual time has no embedder")

    def warm(self, max_batch: int) -> None:
        """Nothing to warm."""

    def warm_front(self, max_batch: int) -> None:
        """Nothing to warm."""

    def describe(self) -> dict[str, Scalar]:
        """The engine, and that time was virtual."""
        return {**self.generator.describe(), "clock": "virtual"}


class _Prompt:
    name = "prompt"

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def __call__(self, items: list[Item]) -> None:
        """Set `prompt`, `prompt_ids`, `prompt_tokens`."""
        for item, made in zip(items, self._generator.prompts([item.query for item in items]), strict=True):
            item.prompt, item.prompt_ids, item.prompt_tokens = made.text, made.ids, made.tokens
