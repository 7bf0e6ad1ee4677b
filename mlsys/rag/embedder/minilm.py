"""`embedder=minilm`, the default: all-MiniLM-L6-v2 (Apache-2.0, 22.7M parameters) from the package index."""

from __future__ import annotations

from mlsys.rag.embedder.model import ModelEmbedder


class MiniLM(ModelEmbedder):
    """The packaged model; `model` may name another, which then is what runs and what the record says."""
