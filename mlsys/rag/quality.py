"""How good retrieval is: how often the known passage is found, and what an approximation misses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlsys.rag.pipeline import Pipeline
from mlsys.rag.retriever.exact import Exact
from mlsys.record import Scalar

HIT_RATES_AT = (1, 3, 5, 10)
BATCH = 32


def hit_rates(pipeline: Pipeline, limit: int | None = None) -> dict[str, Scalar]:
    """Hit rates at 1, 3, 5, 10 and at the k in use, and `retrieval_questions`, how many were asked.

    A cut-off larger than the corpus is left out; no questions: the rate is None. Where the retriever is not
    the exact one, `recall.<k>` is the share of the exact k nearest passages that it found.
    """
    questions = pipeline.questions[:limit]
    if not questions:
        return {"retrieval_hit_rate": None, "retrieval_questions": 0}
    count = len(pipeline.corpus.passages)
    deepest = min(max(*HIT_RATES_AT, pipeline.k), count)
    vectors = np.concatenate(
        [
            pipeline.embedder.queries([question.text for question in questions[start : start + BATCH]])
            for start in range(0, len(questions), BATCH)
        ]
    )
    found = pipeline.retriever.search(vectors, deepest)[1]
    right = found == np.array([question.passage_id for question in questions])[:, None]
    depths = [k for k in HIT_RATES_AT if k <= deepest]
    used = min(pipeline.k, deepest)
    rates: dict[str, Scalar] = {
        "retrieval_hit_rate": float(right[:, :used].any(axis=1).mean()),
        **{f"hit_rate.{k}": float(right[:, :k].any(axis=1).mean()) for k in depths},
        "retrieval_questions": len(questions),
    }
    if not isinstance(pipeline.retriever, Exact):
        exact = Exact("exact", metric=pipeline.retriever.metric)
        exact.load(pipeline.rows, pipeline.device, "")
        nearest = exact.search(vectors, deepest)[1]
        rates |= {f"recall.{k}": _recall(found[:, :k], nearest[:, :k]) for k in sorted({*depths, used})}
    return rates


def _recall(found: NDArray[np.int64], nearest: NDArray[np.int64]) -> float:
    shared = [len(set(some) & set(all_)) for some, all_ in zip(found.tolist(), nearest.tolist(), strict=True)]
    return sum(shared) / nearest.size
