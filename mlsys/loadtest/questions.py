"""What is asked: the corpus's own questions in an order that the seed decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

BLOCK = 1024
STREAM = 0x7A697066  # keeps these draws apart from the order's, which have the same seed


@dataclass(frozen=True, slots=True)
class Question:
    """A question by its place in the corpus; `passage_id`: the passage that answers it, where known.

    `expect`: what its answer must hold, whatever the case of letters.
    `max_tokens`: how long its answer is to be, where that goes with the question.
    `then`: the session's later questions. `history`: what was said before it, as chat's messages.
    """

    id: int
    text: str
    passage_id: int | None
    expect: str | None = None
    max_tokens: int | None = None
    then: tuple[Question, ...] = ()
    history: tuple[dict[str, str], ...] = ()

    @staticmethod
    def read(content: Mapping[str, Any]) -> Question:
        """One from what `dataclasses.asdict` made of it."""
        later = tuple(Question.read(one) for one in content.get("then", ()))
        return Question(**{**content, "then": later, "history": tuple(content.get("history", ()))})


class Questions(Protocol):
    """The question of each request, by the request's number."""

    def __getitem__(self, number: int) -> Question:
        """The question of the request with this number."""
        ...


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


class Zipf:
    """Questions that differ in how popular they are: the r-th is asked with a probability ∝ 1 / r**s, each time anew.

    `seed` decides which questions are popular, `draw` which are asked: repeats and levels have draws of their own.
    """

    def __init__(self, questions: Sequence[Question], s: float, seed: int, draw: tuple[int, ...]) -> None:
        self._questions: list[Question] = [
            questions[int(i)] for i in np.random.default_rng([seed, STREAM]).permutation(len(questions))
        ]
        weights = np.arange(1, len(questions) + 1, dtype=np.float64) ** -s
        self._shares = np.cumsum(weights) / weights.sum()
        self._seeds = (seed, STREAM, *draw)
        self._blocks: dict[int, list[int]] = {}

    def __getitem__(self, number: int) -> Question:
        """The question of the request with this number."""
        block, place = divmod(number, BLOCK)
        if block not in self._blocks:
            uniform = np.random.default_rng([*self._seeds, block + 1]).random(BLOCK)
            ranks = np.minimum(np.searchsorted(self._shares, uniform, side="right"), len(self._questions) - 1)
            self._blocks[block] = ranks.tolist()
        return self._questions[self._blocks[block][place]]
