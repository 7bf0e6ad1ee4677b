"""Exact nearest neighbours: for each query the rows that a float64 search of every row finds."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

import numpy as np
import torch

from mlsys.distance.search.cityblock import MaximumScorer
from mlsys.distance.search.ranking import ranking
from mlsys.distance.search.scores import ProductScorer, Scorer
from mlsys.distance.search.settle import margin, propose, settle
from mlsys.errors import UserError

Array = TypeVar("Array", torch.Tensor, np.ndarray[Any, Any])
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
QUERY_BLOCK = 256


def search(queries: Array, rows: Array, k: int, metric: object = "l2") -> tuple[Array, Array]:
    """The k nearest of `rows` (N, d) to each of `queries` (Q, d).

    Args:
        queries, rows: torch tensors or numpy arrays of float16, bfloat16, float32 or float64, finite.
        k: from 1 to N.
        metric: l2, sqeuclidean, l1, cosine (1 - cos) or dot (inner product), by name or as a metric object.

    Returns:
        Distances (Q, k) float32 and row numbers (Q, k) int64, of the kind of `queries` and on its device:
        nearest first, for dot the largest inner product first, equal distances by the lower row number.
        Distances are recomputed from the rows in float64, without cancellation. The cosine distance to a zero
        vector is nan and comes last.

    Raises:
        UserError: for shapes, dtypes, k, or values that cannot be searched.
    """
    return Index(rows, metric).search(queries, k)


class Index:
    """Rows to be searched many times with one metric: keeps what must be known of them (one number a row)."""

    def __init__(self, rows: Any, metric: object = "l2") -> None:
        self.ranking = ranking(metric)
        self.rows = _tensor(rows, "rows")
        self._scorer = _scorer(self.rows, self.ranking.name)

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """The k nearest rows of each of `queries` (Q, d): see `search`."""
        wanted = _tensor(queries, "queries")
        _check(wanted, self.rows, k)
        k = int(k)
        parts = [self._nearest(block, k) for block in wanted.to(self.rows.device).split(QUERY_BLOCK)]  # type: ignore[no-untyped-call]
        distances = torch.cat([part[0] for part in parts]).to(wanted.device)
        index = torch.cat([part[1] for part in parts]).to(wanted.device)
        if isinstance(queries, np.ndarray):
            return distances.numpy(), index.numpy()
        return distances, index

    def _nearest(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        exact = torch.promote_types(queries.dtype, self.rows.dtype)
        queries = queries.to(torch.promote_types(exact, torch.float32))
        queries = queries.to(self._scorer.precision(queries))
        found = propose(self._scorer, queries, len(self.rows), margin(k, len(self.rows)))
        keys, index = settle(self.ranking, self.rows, self._scorer, queries, found, k)
        return self.ranking.finish(keys).float(), index


def _scorer(rows: torch.Tensor, metric: str) -> Scorer:
    return MaximumScorer.of(rows) if metric == "l1" else ProductScorer.of(rows, metric)


def _tensor(values: Any, name: str) -> torch.Tensor:
    """Values as a contiguous tensor (count, d), not copied where they already are one."""
    if isinstance(values, np.ndarray):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            values = torch.from_numpy(values)
    if not isinstance(values, torch.Tensor):
        raise UserError(f"{name}={type(values).__name__} must be a torch tensor or a numpy array")
    if values.dim() != 2 or 0 in values.shape:
        raise UserError(f"{name} of shape {tuple(values.shape)} must be (count, dim), neither of them 0")
    if values.dtype not in DTYPES:
        allowed = ", ".join(map(str, DTYPES)).replace("torch.", "")
        raise UserError(f"{name} of dtype {values.dtype} must be one of {allowed}".replace("torch.", ""))
    return values.detach().contiguous()


def _check(queries: torch.Tensor, rows: torch.Tensor, k: int) -> None:
    if queries.shape[1] != rows.shape[1]:
        raise UserError(f"queries of dim {queries.shape[1]} do not fit rows of dim {rows.shape[1]}")
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise UserError(f"k={k!r} must be a whole number")
    if not 1 <= k <= len(rows):
        raise UserError(f"k={k} must be from 1 to the number of rows, {len(rows)}")
    if not bool(torch.isfinite(queries).all()):
        raise UserError("queries hold nan or infinity")
