"""The passages' vectors: computed once for a corpus and a model, then kept on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlsys import progress
from mlsys.errors import UserError
from mlsys.files import replacing
from mlsys.rag import cache
from mlsys.rag.corpus import Corpus
from mlsys.rag.embedder import Embedder

BATCH = 32


def digest(corpus: Corpus, embedder: Embedder) -> str:
    """sha256 of the passages and of everything that decides their vectors."""
    return hashlib.sha256(f"{corpus.digest}\0{embedder.identity}".encode()).hexdigest()


def rows(corpus: Corpus, embedder: Embedder, batch: int = BATCH) -> NDArray[np.float32]:
    """(N, dim) float32 vectors of the corpus, from the cache if they are there."""
    path = cache.directory("index") / f"{digest(corpus, embedder)}.npy"
    with cache.locked(path):
        if path.exists():
            return _kept(path, len(corpus.passages))
        vectors = _embed([passage.text for passage in corpus.passages], embedder, batch)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
    return vectors


def _kept(path: Path, count: int) -> NDArray[np.float32]:
    try:
        vectors = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"MLSYS_CACHE: {path} is damaged: delete it") from error
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != count:
        raise UserError(f"MLSYS_CACHE: {path} does not hold {count} vectors: delete it")
    return vectors  # type: ignore[no-any-return]


def _embed(texts: list[str], embedder: Embedder, batch: int) -> NDArray[np.float32]:
    longest_first = sorted(range(len(texts)), key=lambda i: -len(texts[i]))  # batches without much padding
    parts = []
    with progress.step(f"embedding {len(texts)} passages", len(texts)) as step:
        for start in range(0, len(texts), batch):
            chosen = longest_first[start : start + batch]
            parts.append(embedder.passages([texts[i] for i in chosen]))
            step.advance(len(chosen))
    vectors = np.concatenate(parts).astype(np.float32)
    in_order = np.empty_like(vectors)
    in_order[longest_first] = vectors
    return in_order
