"""Scores for l1 from two passes over the elements instead of three: Σ|x - y| = 2·Σ max(x, y) - Σx - Σy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mlsys.distance.search.scores import HUGE, STEP_BYTES, check_finite, each_row, slack, underflow
from mlsys.distance.threads import pool

TILE_BYTES = 3 << 18


@dataclass
class MaximumScorer:
    """Scores Σy/2 - Σ max(x, y), see `Scorer`; the cancellation in them is within the bound."""

    rows: torch.Tensor
    bias: torch.Tensor
    largest: float  # Σ|y| of the largest row

    @classmethod
    def of(cls, rows: torch.Tensor) -> MaximumScorer:
        """Read the rows (N, d) for their sums."""
        sums = each_row(rows, lambda some: some.double().abs().sum(1))
        check_finite(sums)
        return cls(rows, each_row(rows, lambda some: some.double().sum(1)) / 2, float(sums.max()))

    def block(self, queries: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """See `Scorer`."""
        sums = queries.new_empty(len(queries), stop - start)
        if queries.is_cuda:
            self._sums(queries, start, sums)
        else:
            self._sums_in_threads(queries, start, sums)
        return sums.neg_().add_(self.bias[start:stop].to(queries.dtype))

    def _sums(self, queries: torch.Tensor, start: int, sums: torch.Tensor) -> None:
        count = max(1, STEP_BYTES["cuda"] // (8 * queries.numel()))
        for first in range(0, sums.shape[1], count):
            last = min(first + count, sums.shape[1])
            rows = self.rows[start + first : start + last].to(queries.dtype)
            sums[:, first:last] = torch.maximum(queries[:, None], rows).sum(-1)

    def _sums_in_threads(self, queries: torch.Tensor, start: int, sums: torch.Tensor) -> None:
        """Tiles that stay in a core's cache; threads that meet once, not after each small operation."""
        lines = min(len(queries), 16)
        count = max(1, TILE_BYTES // (queries.element_size() * lines * queries.shape[1]))
        share = count * max(1, math.ceil(sums.shape[1] / count / (4 * torch.get_num_threads())))

        def work(first: int) -> None:
            space = queries.new_empty(lines, count, queries.shape[1])
            for row in range(first, min(first + share, sums.shape[1]), count):
                last = min(row + count, first + share, sums.shape[1])
                rows = self.rows[start + row : start + last].to(queries.dtype)
                for line in range(0, len(queries), lines):
                    some = queries[line : line + lines, None]
                    larger = torch.maximum(some, rows, out=space[: len(some), : len(rows)])
                    torch.sum(larger, -1, out=sums[line : line + lines, row:last])

        jobs = range(0, sums.shape[1], share)
        if torch.get_num_threads() == 1:
            for job in jobs:
                work(job)
        else:  # no more threads than cores: the tiles of two would not fit one core's cache
            list(pool("mlsys-search", torch.get_num_threads()).map(work, jobs))

    def floor(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """See `Scorer`."""
        queries64 = queries.double()
        error = slack(self.rows) * (queries64.abs().sum(1) + self.largest)
        return -(keys + queries64.sum(1)) / 2 - error - underflow(queries)

    def precision(self, queries: torch.Tensor) -> torch.dtype:
        """See `Scorer`."""
        safe = max(self.largest, float(queries.double().abs().sum(1).max())) < HUGE
        return queries.dtype if safe else torch.float64
