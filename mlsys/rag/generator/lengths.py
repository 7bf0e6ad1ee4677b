"""When the answers of a batch end that is generated in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Lengths:
    """When each answer of a batch ends: at its limit or, where it is not `fixed`, at an end token before."""

    def __init__(self, limits: Sequence[int], fixed: Sequence[bool], ends: frozenset[int]) -> None:
        self._ends, self._each = ends, list(zip(limits, fixed, strict=True))
        self.longest = max(limits)
        self._sure = (self.longest, True) in self._each  # no end token makes the batch shorter
        self._writing = set(range(len(self._each)))

    def all_ended(self, steps: int, newest: torch.Tensor) -> bool:
        """Whether every answer has ended within the batch's first `steps` tokens.

        `newest` (B, n): those that were not looked at before.
        """
        if self._sure or steps >= self.longest:
            return steps >= self.longest
        rows: list[list[int]] = newest.tolist()
        self._writing = {row for row in self._writing if not self._has_ended(row, steps, rows[row])}
        return not self._writing

    def _has_ended(self, row: int, steps: int, newest: list[int]) -> bool:
        limit, fixed = self._each[row]
        return steps >= limit or (not fixed and not self._ends.isdisjoint(newest))

    def cut(self, rows: list[list[int]]) -> list[list[int]]:
        """The answers without what was written after their ends."""
        return [
            row[:limit] if fixed else cut(row[:limit], self._ends)
            for row, (limit, fixed) in zip(rows, self._each, strict=True)
        ]


def cut(ids: list[int], ends: frozenset[int]) -> list[int]:
    """`ids` up to and with the first end token."""
    for place, token in enumerate(ids):
        if token in ends:
            return ids[: place + 1]
    return ids
