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

    def places(self, numbers: Any, name: str = "numbers") -> torch.Tensor:
        """Where the rows of these numbers are held. Raises `UserError` for one that is not."""
        wanted = whole_numbers(name, numbers)
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
                (Q, next), or a list of Q masks or lists of numbers.
            queries: Q.
        """
        if isinstance(allowed, list | tuple) and any(map(_is_list, allowed)):
            if len(allowed) != queries:
                raise UserError(f"allowed has {len(allowed)} lists for {queries} queries")
            return torch.stack([self._allowed(_read("allowed", some)) for some in allowed])
        given = _read("allowed", allowed)
        if given.dtype == torch.bool and given.shape == (queries, self.next):
            return self._held(given)
        return self._allowed(given, queries)

    def _allowed(self, given: torch.Tensor, queries: int | None = None) -> torch.Tensor:
        """Which rows a mask (next,) or numbers (m,) allow, (N,) bool; `queries`: what else a mask might have been."""
        if given.dtype != torch.bool:
            mask = torch.zeros(self.count, dtype=torch.bool)
            mask[self.places(given, "allowed")] = True
            return mask
        if given.shape != (self.next,):
            fit = f"({self.next},)" if queries is None else f"({self.next},) or ({queries}, {self.next})"
            raise UserError(
                f"allowed of shape {tuple(given.shape)} must be {fit}: a place for each row number"
            )
        return self._held(given)

    def _held(self, mask: torch.Tensor) -> torch.Tensor:
        """Of a mask (..., next) the places of the rows that are held, (..., N)."""
        return mask if self.held is None and self.next == self.count else mask[..., self.all()]


def whole_numbers(name: str, values: Any) -> torch.Tensor:
    """`values` (m,) as int64. Raises `UserError` for what are no whole numbers."""
    given = _read(name, values)
    if given.numel() == 0:
        return torch.empty(0, dtype=torch.int64)
    if given.dim() != 1 or given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise _no_numbers(name)
    return given.to(torch.int64)


def _is_list(values: Any) -> bool:
    return isinstance(values, list | tuple | range | set | frozenset) or getattr(values, "ndim", 0) > 0


def _read(name: str, values: Any) -> torch.Tensor:
    """A mask or numbers, in whatever form, as a tensor on the CPU. Raises `UserError` for what is neither."""
    if isinstance(values, torch.Tensor):
        return values.detach().cpu()
    try:
        array = np.asarray(list(values) if isinstance(values, set | frozenset) else values)
    except (OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise _no_numbers(name) from error
    if not array.size:
        return torch.empty(array.shape)
    if array.dtype.kind not in "biuf":
        raise _no_numbers(name)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C", copy=True))


def _no_numbers(name: str) -> UserError:
    return UserError(f"{name} must be one list of whole numbers")
