"""How good retrieval is: how often the known passage is found, and what an approximation misses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlsys.rag.pipeline import Pipeline
from mlsys.rag.retriever import find
from mlsys.rag.retriever.exact import Exact
from mlsys.rag.retriever.store import Store
from mlsys.record import Scalar

HIT_RATES_AT = (1, 3, 5, 10)
BATCH = 32


def hit_rates(pipeline: Pipeline, limit: int | None = None) -> dict[str, Scalar]:
    """Hit rates at 1, 3, 5, 10 and at the k in use, and `retrieval_questions`, how many were asked.

    A cut-off larger than the corpus is left out; no questions: the rate is None. `retriever.recall_at_k` is the share
    of the exact k nearest passages (those that the filter leaves) that were found, at the k in use: 1 by definition
    for the exact retriever, measured for the others, with `recall.<k>` at the other cut-offs. A reranker is not asked.
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
    found = find(pipeline.retriever, [question.text for question in questions], vectors, deepest)[1]
    right = found == np.array([question.passage_id for question in questions])[:, None]
    depths = [k for k in HIT_RATES_AT if k <= deepest]
    used = min(pipeline.k, deepest)
    rates: dict[str, Scalar] = {
        "retrieval_hit_rate": float(right[:, :used].any(axis=1).mean()),
        **{f"hit_rate.{k}": float(right[:, :k].any(axis=1).mean()) for k in depths},
        "retrieval_questions": len(questions),
    }
    if isinstance(pipeline.retriever, Exact):
        return rates | {"retriever.recall_at_k": 1.0}
    nearest = _nearest(pipeline, vectors, deepest)
    recalls = {k: _recall(found[:, :k], nearest[:, :k]) for k in sorted({*depths, used})}
    return rates | {"retriever.recall_at_k": recalls[used], **{f"recall.{k}": r for k, r in recalls.items()}}


def _nearest(pipeline: Pipeline, vectors: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    retriever = pipeline.retriever
    given = retriever.filter.given if isinstance(retriever, Store) else None
    exact = Exact(name="exact", metric=retriever.metric, filter=given)
    exact.read(pipeline.corpus.passages)
    exact.load(pipeline.rows, pipeline.device, "")
    return exact.search(vectors, k)[1]


def _recall(found: NDArray[np.int64], nearest: NDArray[np.int64]) -> float:
    there = [
        ({*some} - {-1}, {*every} - {-1})
        for some, every in zip(found.tolist(), nearest.tolist(), strict=True)
    ]
    return sum(len(some & every) for some, every in there) / max(1, sum(len(every) for _, every in there))
