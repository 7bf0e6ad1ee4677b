"""`embedder=hashing`: a bag of hashed words, for tests and for machines without any weights.

Weinberger et al., "Feature hashing for large scale multitask learning" (2009): each word adds +1 or -1 to
one of `dim` places chosen by its hash. It finds passages that share words with the question, not meaning.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import UserError
from mlsys.record import Scalar

WORD = re.compile(r"\w+|[^\w\s]")
STEM_LETTERS = 6


class Hashing:
    """Vectors of length `dim`, each of euclidean length 1 (0 for a text without words)."""

    def __init__(self, name: str, dim: int) -> None:
        if dim < 1:
            raise UserError(f"embedder.dim={dim} must be at least 1")
        self.name, self.dim = name, dim

    def load(self, device: str) -> None:
        """Nothing to load."""

    @property
    def identity(self) -> str:
        """The method and its one knob."""
        return f"hashing-{self.dim}"

    def passages(self, texts: list[str]) -> NDArray[np.float32]:
        """(N, dim) float32."""
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                code = _code(word[:STEM_LETTERS])
                row[(code >> 1) % self.dim] += 1.0 if code & 1 else -1.0
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows /= np.where(norms > 0, norms, 1)
        return rows

    def queries(self, texts: list[str]) -> NDArray[np.float32]:
        """(Q, dim) float32."""
        return self.passages(texts)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Words and single signs."""
        return [match.span() for match in WORD.finditer(text)]

    def describe(self) -> dict[str, Scalar]:
        """Says that it is no model."""
        return {"model": self.identity, "dim": self.dim, "note": "hashed words, not a language model"}


def _code(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
