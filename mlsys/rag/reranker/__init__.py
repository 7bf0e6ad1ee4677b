"""What reads a question and a passage together, and says how well they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.record import Scalar


class Reranker(Protocol):
    """Scores pairs of question and passage. `candidates`: how many passages of a question it is given."""

    name: str
    candidates: int

    def load(self, device: str) -> None:
        """Fetch and load. Raises UserError for what cannot be had."""
        ...

    def scores(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """(P,) one score for each (question, passage), larger fits better."""
        ...

    def describe(self) -> dict[str, Scalar]:
        """What the record should say."""
        ...
