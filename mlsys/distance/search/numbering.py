"""Row numbers that stay while rows come and go, and which rows a query may find.

A row keeps the number that it was added under. Rows are held in the order of their numbers, so ties by place are ties
by number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mlsys.errors import UserError


class Numbers:
    """The numbers of the rows held, `held` (N,) int64 ascending; None: 0 … N - 1. `next`: of the row to come."""

    def __init__(self, count: int, held: torch.Tensor | None = None, following: int | None = None) -> None:
        self.count, self.held = count, held
        self.next = count if following is None else following
        self._near = held  # where it was last asked for

    def of(self, places: torch.Tensor) -> torch.Tensor:
        """The numbers of the rows at `places`, of any shape; -1 stays -1."""
        if self.held is None or self._near is None:
            return places
        if self._near.device != places.device:
            self._near = self.held.to(places.device)
        return torch.where(places < 0, places, self._near[places.clamp(min=0)])

    def grown(self, count: int) -> Numbers:
        """With so many rows more at the end."""
        fresh = torch.arange(self.next, self.next + count)
        held = None
        if self.held is not None or self.next != self.count:
            held = torch.cat([self.all(), fresh])
        return Numbers(self.count + count, held, self.next + count)

    def kept(self, places: torch.Tensor) -> Numbers:
        """Of the rows at `places` (n,), ascending, alone."""
        return Numbers(len(places), self.all()[places], self.next)

    def all(self) -> torch.Tensor:
        """Of all rows (N,)."""
        return torch.arange(self.count) if self.held is None else self.held

    def places(self, numbers: Any) -> torch.Tensor:
        """Where the rows of these numbers are held. Raises `UserError` for one that is not."""
        wanted = whole_numbers("numbers", numbers)
        here = self.all()
        found = torch.searchsorted(here, wanted).clamp(max=len(here) - 1)
        absent = wanted[here[found] != wanted]
        if len(absent):
            raise UserError(f"row {int(absent[0])} is not in the index")
        return found

    def allowed(self, allowed: Any, queries: int) -> torch.Tensor:
        """Which rows may be found, (N,) bool, or (Q, N) where queries differ: of a mask or of numbers.

        Args:
            allowed: for all queries a mask by row number, (next,) bool, or numbers (m,); for each query a mask
                (Q, next), or a list of Q lists of numbers.
            queries: Q.
        """
        if (
            isinstance(allowed, list | tuple)
            and allowed
            and isinstance(allowed[0], list | tuple | np.ndarray)
        ):
            if len(allowed) != queries:
                raise UserError(f"allowed has {len(allowed)} lists for {queries} queries")
            return torch.stack(
                [self.allowed(torch.as_tensor(some, dtype=torch.int64), 1) for some in allowed]
            )
        given = torch.as_tensor(allowed).cpu()
        if given.dtype != torch.bool:
            mask = torch.zeros(self.count, dtype=torch.bool)
            mask[self.places(given)] = True
            return mask
        if given.shape not in ((self.next,), (queries, self.next)):
            raise UserError(
                f"allowed of shape {tuple(given.shape)} must be ({self.next},) or ({queries}, {self.next}): "
                "a place for each row number"
            )
        return given if self.held is None and self.next == self.count else given[..., self.all()]


def whole_numbers(name: str, values: Any) -> torch.Tensor:
    """`values` (m,) as int64. Raises `UserError` for what are no whole numbers."""
    given = torch.as_tensor(values).cpu()
    if given.numel() == 0:
        return torch.empty(0, dtype=torch.int64)
    if given.dim() != 1 or given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise UserError(f"{name} must be one list of whole numbers")
    return given.to(torch.int64)
