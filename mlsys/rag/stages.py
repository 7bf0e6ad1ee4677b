"""The stages around the models: each takes a batch of items and sets its own fields on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlsys.rag.corpus import Passage
from mlsys.rag.embedder import Embedder
from mlsys.rag.generator import Generator, Prompt, Wanted
from mlsys.rag.item import Hit, Item
from mlsys.rag.retriever import Retriever


class EmbedStage:
    """Questions to vectors."""

    name = "embed"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def __call__(self, items: list[Item]) -> None:
        """Set `embedding`."""
        asking = [item for item in items if item.retrieves]
        if asking:
            vectors = self._embedder.queries([item.query for item in asking])
            for item, vector in zip(asking, vectors, strict=True):
                item.embedding = vector


class RetrieveStage:
    """Vectors to passages."""

    name = "retrieve"

    def __init__(self, retriever: Retriever, passages: Sequence[Passage]) -> None:
        self._retriever, self._passages = retriever, passages

    def __call__(self, items: list[Item]) -> None:
        """Set `passages`: each item's own k, at most as many as there are."""
        asking = [item for item in items if item.embedding is not None]
        if not asking:
            return
        vectors = np.stack([item.embedding for item in asking if item.embedding is not None])
        k = min(max(item.k for item in asking), len(self._passages))
        scores, rows = self._retriever.search(vectors, k)
        for item, item_scores, item_rows in zip(asking, scores, rows, strict=True):
            found = zip(item_scores[: item.k], item_rows[: item.k], strict=True)
            item.passages = [self._hit(int(row), float(score)) for score, row in found if row >= 0]

    def _hit(self, row: int, score: float) -> Hit:
        passage = self._passages[row]
        return Hit(passage.id, passage.text, passage.source, score)


class GenerateStage:
    """Prompts to answers."""

    name = "generate"

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def __call__(self, items: list[Item]) -> None:
        """Set `result`, `result_ids`, `tokens`, `finish`."""
        prompts = [Prompt(i.prompt, i.prompt_tokens, i.prompt_ids) for i in items]
        wanted = [Wanted(i.max_tokens, i.exact_tokens, i.sampling) for i in items]
        answers = self._generator.generate(prompts, wanted)
        for item, answer in zip(items, answers, strict=True):
            item.result, item.result_ids, item.tokens = answer.text, answer.ids, answer.tokens
            exact = self._generator.fixed_length if item.exact_tokens is None else item.exact_tokens
            ended = not exact and answer.ids[-1:] and answer.ids[-1] in self._generator.ends
            item.finish = "stop" if ended else "length"
