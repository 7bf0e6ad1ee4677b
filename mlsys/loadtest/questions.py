"""What is asked: the corpus's own questions in an order that the seed decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Question:
    """A question by its place in the corpus; `passage_id`: the passage that answers it, where known."""

    id: int
    text: str
    passage_id: int | None


class Order:
    """All questions once in a random order, then all of them in another, without end."""

    def __init__(self, questions: Sequence[Question], seed: int) -> None:
        self._questions, self._seed = questions, seed
        self._rounds: dict[int, list[int]] = {}

    def __getitem__(self, number: int) -> Question:
        """The question of the request with this number."""
        turn, place = divmod(number, len(self._questions))
        if turn not in self._rounds:
            random = np.random.default_rng([self._seed, turn])
            self._rounds[turn] = [int(i) for i in random.permutation(len(self._questions))]
        return self._questions[self._rounds[turn][place]]
