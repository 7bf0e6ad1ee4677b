"""Replicas that can be chosen, with how many requests each has in flight, in arrays: what a choice among thousands
takes is then some microseconds.

As long as the same replicas can be chosen they are the same object, so a policy may keep what it knows of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.serving.balancer import C

Counts = NDArray[np.int64]


class Standing(list[C]):
    """Candidates. `counts`: of all replicas there are, kept up to date by who owns them; `places`: where these are."""

    counts: Counts
    places: Counts | None

    @classmethod
    def of(cls, candidates: Iterable[C], counts: Counts, places: Sequence[int]) -> Standing[C]:
        """`places` in `counts`, one for each candidate."""
        made = cls(candidates)
        made.counts = counts
        made.places = None if len(places) == len(counts) else np.asarray(places, np.int64)
        return made

    @property
    def in_flight(self) -> Counts:
        """How many requests each has in flight."""
        return self.counts if self.places is None else self.counts[self.places]


def in_flight(candidates: Sequence[C]) -> Counts:
    """How many requests each has in flight."""
    if isinstance(candidates, Standing):
        return candidates.in_flight
    return np.array([candidate.in_flight for candidate in candidates], np.int64)


class Known:
    """An array with a value for each candidate, by `value(name)`: kept while the candidates are the same."""

    def __init__(self, value: Callable[[str], int], dtype: Any = np.int64) -> None:
        self._value, self._dtype = value, dtype
        self._of: Sequence[Any] | None = None
        self._values: NDArray[Any] = np.empty(0, dtype)

    def of(self, candidates: Sequence[C]) -> NDArray[Any]:
        """The values, in the candidates' order."""
        if candidates is not self._of or not isinstance(candidates, Standing):
            self._values = np.array([self._value(one.name) for one in candidates], self._dtype)
            self._of = candidates
        return self._values


class Turns:
    """Who was chosen when: the one that was chosen longest ago is next, who never was first, in the order given."""

    def __init__(self) -> None:
        self._turn, self._chosen_at = 0, dict[str, int]()
        self._known = Known(lambda name: self._chosen_at.get(name, 0))

    def of(self, candidates: Sequence[C]) -> Counts:
        """The turn in which each was chosen last."""
        return self._known.of(candidates)

    def take(self, candidates: Sequence[C], place: int) -> C:
        """This one is chosen now."""
        chosen = candidates[place]
        self._turn += 1
        self._chosen_at[chosen.name] = self._known.of(candidates)[place] = self._turn
        return chosen


def number(text: str) -> int:
    """64 bits that stand for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest())
