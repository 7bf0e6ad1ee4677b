"""The stages around the models: each takes a batch of items and sets its own fields on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlsys.rag.corpus import Passage
from mlsys.rag.embedder import Embedder
from mlsys.rag.generator import Completion, Generator, Prompt, Wanted
from mlsys.rag.item import Hit, Item
from mlsys.rag.reranker import Reranker
from mlsys.rag.retriever import Retriever, find

NO_VECTOR = np.empty(0, np.float32)


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
    """Questions to passages: each item's own k, or `candidates` where a reranker chooses among them."""

    name = "retrieve"

    def __init__(self, retriever: Retriever, passages: Sequence[Passage], candidates: int = 0) -> None:
        self._retriever, self._passages, self._candidates = retriever, passages, candidates

    def __call__(self, items: list[Item]) -> None:
        """Set `passages`: at most as many as there are. An item without embedding is found by its words."""
        asking = [item for item in items if item.retrieves]
        if not asking:
            return
        wanted = [max(item.k, self._candidates) for item in asking]
        vectors = np.stack([NO_VECTOR if item.embedding is None else item.embedding for item in asking])
        k = min(max(wanted), len(self._passages))
        scores, rows = find(self._retriever, [item.query for item in asking], vectors, k)
        for item, count, item_scores, item_rows in zip(asking, wanted, scores, rows, strict=True):
            found = zip(item_scores[:count], item_rows[:count], strict=True)
            item.passages = [self._hit(int(row), float(score)) for score, row in found if row >= 0]

    def _hit(self, row: int, score: float) -> Hit:
        passage = self._passages[row]
        return Hit(passage.id, passage.text, passage.source, score)


class RerankStage:
    """Passages in a better order, and the best k of them."""

    name = "rerank"

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker

    def __call__(self, items: list[Item]) -> None:
        """Set `passages`: the best k with the reranker's scores. Equal scores keep the retriever's order."""
        pairs = [(item.query, hit.text) for item in items for hit in item.passages]
        scores = iter(self._reranker.scores(pairs) if pairs else ())
        for item in items:
            scored = [replace(hit, score=float(next(scores))) for hit in item.passages]
            item.passages = sorted(scored, key=lambda hit: -hit.score)[: item.k]


class GenerateStage:
    """Prompts to answers."""

    name = "generate"

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def __call__(self, items: list[Item]) -> None:
        """Set `result`, `result_ids`, `tokens`, `finish`; or `failure` of an item that fails alone."""
        answers = self._generator.generate([prompt(item) for item in items], [wanted(item) for item in items])
        for item, answer in zip(items, answers, strict=True):
            self.fill(item, answer)

    def fill(self, item: Item, answer: Completion) -> None:
        """What came of an item."""
        item.failure = answer.failure
        item.result, item.result_ids, item.tokens = answer.text, answer.ids, answer.tokens
        if answer.finish is not None:  # another server's: what it read, it alone has counted
            item.finish, item.prompt_tokens = answer.finish, answer.prompt_tokens
            return
        exact = self._generator.fixed_length if item.exact_tokens is None else item.exact_tokens
        ended = not exact and answer.ids[-1:] and answer.ids[-1] in self._generator.ends
        item.finish = "stop" if ended else "length"


def prompt(item: Item) -> Prompt:
    """The item's prompt, as it was built."""
    return Prompt(item.prompt, item.prompt_tokens or 0, item.prompt_ids, item.prompt_messages)


def wanted(item: Item) -> Wanted:
    """The answer that the item asks for."""
    return Wanted(item.max_tokens, item.exact_tokens, item.sampling, item.stop, lambda: item.cancelled)
