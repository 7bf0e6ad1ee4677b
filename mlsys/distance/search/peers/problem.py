"""What a peer of a search is given, and what it hands back ready to be timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

BLOCK_ROWS = 1 << 20


@dataclass(frozen=True)
class Problem:
    """What is searched: queries (Q, d) and rows (N, d) of one dtype on one device, for the k nearest.

    form: the metric's form of search, see `mlsys.distance.search.ranking`.
    """

    queries: torch.Tensor
    rows: torch.Tensor
    k: int
    form: str

    @property
    def on_gpu(self) -> bool:
        """Whether it lies on a GPU."""
        return self.rows.is_cuda

    @cached_property
    def scored(self) -> torch.Tensor:
        """The rows (N, d) that a product with queries ranks: unit rows for cosine, made once."""
        return torch.nn.functional.normalize(self.rows, dim=1) if self.form == "cosine" else self.rows

    @cached_property
    def squares(self) -> torch.Tensor:
        """|y|² of each row (N,), summed in float32, some rows at a time: a float32 copy of all may not fit."""
        return torch.cat([part.float().square().sum(1) for part in self.rows.split(BLOCK_ROWS)])

    @cached_property
    def bias(self) -> torch.Tensor | None:
        """What l2 adds to each row's product (N,), in the rows' dtype: -|y|²/2. None for other forms."""
        return (self.squares / -2).to(self.rows.dtype) if self.form in ("l2", "sqeuclidean") else None


@dataclass(frozen=True)
class Peer:
    """A call ready to be timed, what it computes, and how to read row numbers (Q, k) from its result, if it has.

    own_stream: it works on a GPU's stream of its own, where the events that time a device see nothing of it. Only
    what a caller waits is measured then.
    """

    call: Callable[[], Any]
    expression: str
    found: Callable[[Any], Any] | None = None
    own_stream: bool = False
