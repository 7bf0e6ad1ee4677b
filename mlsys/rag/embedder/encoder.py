"""What turns texts into vectors in `embedder=model`: our own reading of a BERT, or the library for all others."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.rag import hub


class Encoder(Protocol):
    """A loaded model. `prompts`: what it says that texts of a kind begin with."""

    prompts: dict[str, str]
    parameters: int
    dim: int
    max_tokens: int
    commit: str | None

    def encode(self, texts: list[str], batch: int, normalize: bool) -> NDArray[np.float32]:
        """(N, dim), in batches of `batch`; `normalize`: of euclidean length 1."""
        ...

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) characters of each token, however many there are."""
        ...


class Library:
    """A model by sentence-transformers."""

    def __init__(self, location: hub.Location, device: str, revision: str | None, trusted: bool) -> None:
        from sentence_transformers import SentenceTransformer

        loaded: Any = SentenceTransformer(
            location.path,
            device=device,
            revision=revision,
            trust_remote_code=trusted,
            local_files_only=location.local_only,
        )
        self._loaded = loaded
        self.prompts = {kind: text for kind, text in (loaded.prompts or {}).items() if text}
        self.parameters = sum(weights.numel() for weights in loaded.parameters())
        self.dim, self.max_tokens = int(_dimension(loaded)), int(loaded.max_seq_length)
        self.commit = getattr(loaded[0].auto_model.config, "_commit_hash", None)

    def encode(self, texts: list[str], batch: int, normalize: bool) -> NDArray[np.float32]:
        """As the protocol says."""
        vectors: NDArray[np.float32] = self._loaded.encode(
            texts, prompt="", batch_size=batch, normalize_embeddings=normalize, show_progress_bar=False
        )
        return vectors

    def spans(self, text: str) -> list[tuple[int, int]]:
        """As the protocol says."""
        coded = self._loaded.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
        )
        return [tuple(span) for span in coded["offset_mapping"]]


def _dimension(loaded: Any) -> int:
    named = getattr(loaded, "get_embedding_dimension", None)  # its name since sentence-transformers 5.3
    size: int = (named or loaded.get_sentence_embedding_dimension)()
    return size
