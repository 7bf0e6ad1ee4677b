"""Texts to vectors."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.record import Scalar


class Embedder(Protocol):
    """Turns texts into vectors of one length. Constructing is cheap, `load` gets the weights."""

    name: str

    def load(self, device: str) -> None:
        """Fetch and load. `device` is `cpu` or `cuda`."""
        ...

    @property
    def identity(self) -> str:
        """Everything that decides the vectors (model, version, prefixes): what an index is cached by."""
        ...

    def passages(self, texts: list[str]) -> NDArray[np.float32]:
        """(N, dim) float32 of texts that will be searched."""
        ...

    def queries(self, texts: list[str]) -> NDArray[np.float32]:
        """(Q, dim) float32 of texts to search for, in one batch."""
        ...

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) characters of each token."""
        ...

    def describe(self) -> dict[str, Scalar]:
        """What the record should say."""
        ...
