"""Scores for l1, which no matrix product gives: -(Σ|x - y| + Σx) / 2.

On a CPU faiss' distance function sums the terms of a small tile of rows in one pass; where faiss is not installed,
and on a GPU where the kernels have left a query in doubt, Σ|x - y| = 2·Σ max(x, y) - Σx - Σy takes two passes
instead of three. The cancellation in that, and the Σx that both carry, are within the bound.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from mlsys.distance.search.blocks.scores import HUGE, STEP_BYTES, check_finite, each_row, slack, underflow
from mlsys.distance.threads import pool

TILE_ROWS = 256  # rows that are taken from memory once for all queries
LINES = 16
Tile = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]


@dataclass
class MaximumScorer:
    """Scores Σy/2 - Σ max(x, y) = -(Σ|x - y| + Σx) / 2, see `Scorer`."""

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
        scores = queries.new_empty(len(queries), stop - start)
        if queries.is_cuda:
            self._in_steps(queries, start, scores)
        elif queries.dtype == torch.float32 and faiss() is not None:
            self._in_threads(queries, start, scores, _distances)
            return scores.add_(queries.sum(1, keepdim=True)).mul_(-0.5)
        else:
            self._in_threads(queries, start, scores, _maxima)
        return scores.neg_().add_(self.bias[start:stop].to(queries.dtype))

    def _in_steps(self, queries: torch.Tensor, start: int, sums: torch.Tensor) -> None:
        count = max(1, STEP_BYTES["cuda"] // (8 * queries.numel()))
        for first in range(0, sums.shape[1], count):
            last = min(first + count, sums.shape[1])
            rows = self.rows[start + first : start + last].to(queries.dtype)
            sums[:, first:last] = torch.maximum(queries[:, None], rows).sum(-1)

    def _in_threads(self, queries: torch.Tensor, start: int, sums: torch.Tensor, tile: Tile) -> None:
        """Tiles that stay in a core's cache; threads that meet once, not after each small operation."""
        threads, width = torch.get_num_threads(), sums.shape[1]
        count = TILE_ROWS * max(1, LINES // len(queries))
        share = count * max(1, math.ceil(width / count / (4 * threads)))

        def work(first: int) -> None:
            for row in range(first, min(first + share, width), count):
                last = min(row + count, first + share, width)
                tile(queries, self.rows[start + row : start + last].to(queries.dtype), sums[:, row:last])

        # no more threads than cores: the tiles of two would not fit one core's cache
        list(pool("mlsys-search", threads).map(work, range(0, width, share)))

    def lengths(self, queries: torch.Tensor) -> torch.Tensor:
        """Σ|x|."""
        return queries.double().abs().sum(1)

    def floor(self, queries: torch.Tensor, lengths: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """See `Scorer`."""
        error = slack(self.rows) * (lengths + self.largest)
        return -(keys + queries.double().sum(1)) / 2 - error - underflow(queries)

    def precision(self, queries: torch.Tensor, lengths: torch.Tensor) -> torch.dtype:
        """See `Scorer`."""
        safe = max(self.largest, float(lengths.max())) < HUGE
        return queries.dtype if safe else torch.float64


@lru_cache(maxsize=1)
def faiss() -> Any:
    """faiss, or None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import faiss as library
        except ImportError:
            return None
    return library


def _distances(queries: torch.Tensor, rows: torch.Tensor, out: torch.Tensor) -> None:
    """Σ|x - y| of a tile; faiss' own threads are off in the calling thread."""
    library = faiss()
    library.omp_set_num_threads(1)
    out.copy_(torch.from_numpy(library.pairwise_distances(queries.numpy(), rows.numpy(), library.METRIC_L1)))


def _maxima(queries: torch.Tensor, rows: torch.Tensor, out: torch.Tensor) -> None:
    """Σ max(x, y) of a tile."""
    count = TILE_ROWS // 8
    space = queries.new_empty(min(len(queries), LINES), count, queries.shape[1])
    for first in range(0, len(rows), count):
        some = rows[first : first + count]
        for line in range(0, len(queries), LINES):
            lines = queries[line : line + LINES, None]
            larger = torch.maximum(lines, some, out=space[: len(lines), : len(some)])
            torch.sum(larger, -1, out=out[line : line + LINES, first : first + count])
