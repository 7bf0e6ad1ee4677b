"""A pipeline without models: what the engine and the stages before it cost, and the prompts that they would make.

A question's passages are those that the corpus knows to answer it, and the ones after. So prompts have lengths and
beginnings like those of real ones, which is all that a policy or a cost can see of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlsys import signatures
from mlsys.errors import UserError
from mlsys.loadtest.corpus import FALLBACK, Words
from mlsys.loadtest.questions import Question
from mlsys.rag.corpus import Passage
from mlsys.rag.generator import Generator
from mlsys.rag.item import Hit, Item, Stage
from mlsys.rag.prompt import PromptStage
from mlsys.rag.stages import GenerateStage
from mlsys.record import Scalar
from mlsys.serving.worker import Embedded
from mlsys.virtual.cost import Overheads

Sleep = Callable[[float], None]


def _nobody(seconds: float) -> None:
    """Nobody waits for it."""


class Library:
    """What a corpus has, loaded without its models: questions and the passages that a search would find."""

    def __init__(self, questions: Sequence[Question], passages: Sequence[Passage] = ()) -> None:
        self.questions, self._passages = list(questions), passages
        self._known = {question.text: question.passage_id for question in questions}
        self.built = dict[
            tuple[str, int, int], Item
        ]()  # prompts by question, passages and most tokens: written once

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Library:
        """Of the corpus that a section names."""
        corpus = signatures.make("corpus", section)
        corpus.load(Words())
        asked = [Question(i, q.text, q.passage_id) for i, q in enumerate(corpus.questions)]
        return cls(asked or [Question(0, FALLBACK, None)], corpus.passages)

    def find(self, query: str, k: int) -> list[Hit]:
        """The passage that answers the question and those after it, `k` in all."""
        first, count = self._known.get(query), len(self._passages)
        if first is None:
            return []
        found = [self._passages[(first + place) % count] for place in range(min(k, count))]
        return [Hit(one.id, one.text, one.source, 1.0 - place) for place, one in enumerate(found)]


class Bare:
    """The stages `prompt`, which takes what `overheads` say of a batch, and `generate`.

    `hold` is told, as a batch begins, for how long its thread computes before it generates.
    """

    device = "virtual"

    def __init__(
        self,
        generator: Generator,
        library: Library,
        overheads: Overheads,
        sleep: Sleep,
        ahead: bool = False,
        hold: Sleep = _nobody,
    ) -> None:
        self.generator = generator
        self.stages: tuple[Stage, ...] = (
            _Prompt(generator, library, overheads, sleep, hold),
            GenerateStage(generator),
        )
        if ahead:  # as on a device that computes while its thread goes on
            self.device = "cuda"

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
        named = {f"generator.{name}": value for name, value in self.generator.describe().items()}
        return {"generator.name": self.generator.name, **named, "clock": "virtual"}


class _Prompt:
    """Builds prompts as `PromptStage` does, each question's once for all replicas."""

    name = "prompt"

    def __init__(
        self, generator: Generator, library: Library, overheads: Overheads, sleep: Sleep, hold: Sleep
    ) -> None:
        self._build, self._library, self._most = PromptStage(generator), library, generator.max_prompt_tokens
        self._sleep, self._hold = sleep, hold
        self._base_s, self._each_s = overheads.batch_ms / 1e3, overheads.batch_request_ms / 1e3

    def __call__(self, items: list[Item]) -> None:
        """Set what `PromptStage` sets, and `passages`."""
        if seconds := self._base_s + self._each_s * len(items):
            self._hold(seconds)
            self._sleep(seconds)
        for item in items:
            made = self._library.built.get((item.query, item.k, self._most)) or self._made(item.query, item.k)
            item.passages, item.prompt_passages = made.passages, made.prompt_passages
            item.prompt, item.prompt_ids, item.prompt_tokens = (
                made.prompt,
                made.prompt_ids,
                made.prompt_tokens,
            )

    def _made(self, query: str, k: int) -> Item:
        item = self._library.built[query, k, self._most] = Item(query, k)
        item.passages = self._library.find(query, k)
        self._build([item])
        return item
