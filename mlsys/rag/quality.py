"""How good retrieval is: the share of known questions whose passage is among the first k."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlsys.rag.pipeline import Pipeline

HIT_RATES_AT = (1, 3, 5, 10)
BATCH = 32


def hit_rates(pipeline: Pipeline, limit: int | None = None) -> dict[str, float | int | str | bool | None]:
    """Hit rates at 1, 3, 5, 10 and at the k in use, and `retrieval_questions`, how many were asked.

    A cut-off larger than the corpus is left out. No questions: all are None.
    """
    questions = pipeline.questions[:limit]
    places = [*HIT_RATES_AT, pipeline.k]
    if not questions:
        return {"retrieval_hit_rate": None, "retrieval_questions": 0}
    deepest = min(max(places), len(pipeline.corpus.passages))
    found = []
    for start in range(0, len(questions), BATCH):
        vectors = pipeline.embedder.queries([question.text for question in questions[start : start + BATCH]])
        found.append(pipeline.retriever.search(vectors, deepest)[1])
    ranks = np.concatenate(found)
    right = ranks == np.array([question.passage_id for question in questions])[:, None]
    rates = {f"hit_rate.{k}": float(right[:, :k].any(axis=1).mean()) for k in HIT_RATES_AT if k <= deepest}
    used = float(right[:, : pipeline.k].any(axis=1).mean())
    return {"retrieval_hit_rate": used, **rates, "retrieval_questions": len(questions)}
