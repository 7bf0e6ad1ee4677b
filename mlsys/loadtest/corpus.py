"""The questions of the corpus that a service answers from, read without its models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlsys import signatures
from mlsys.loadtest.questions import Question

FALLBACK = "What is this about?"


def questions(section: Mapping[str, Any]) -> list[Question]:
    """The corpus's own questions, with the passages that answer them where that is certain.

    A corpus that cuts its text by the embedder's tokens is cut by words here, so that its passages may be
    others: then no known passage is claimed. A corpus without questions is asked one that fits any text.
    """
    corpus = signatures.make("corpus", section)
    words = Words()
    corpus.load(words)
    certain = not words.called
    found = [Question(i, q.text, q.passage_id if certain else None) for i, q in enumerate(corpus.questions)]
    return found or [Question(0, FALLBACK, None)]


class Words:
    """Stands in for the embedder's tokenizer: a token is a word."""

    def __init__(self) -> None:
        self.called = False

    def __call__(self, text: str) -> list[tuple[int, int]]:
        """The (start, end) of each word."""
        self.called = True
        return [match.span() for match in re.finditer(r"\S+", text)]
