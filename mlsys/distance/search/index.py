"""Exact nearest neighbours: for each query the rows that a float64 search of every row finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mlsys.distance.arrays import as_tensor, becomes_numpy
from mlsys.distance.isolation import isolated
from mlsys.distance.language import why_not
from mlsys.distance.metrics import Metric
from mlsys.distance.search.blocks.cityblock import MaximumScorer
from mlsys.distance.search.blocks.scores import ProductScorer, check_squares
from mlsys.distance.search.blocks.settle import margin, propose, settle
from mlsys.distance.search.kernels.graphs import Replays
from mlsys.distance.search.kernels.launch import placed
from mlsys.distance.search.kernels.passes import KernelSearch
from mlsys.distance.search.ranking import ranking
from mlsys.errors import UserError

QUERY_BLOCK = 256
METHODS = ("auto", "kernels", "blocks")


@isolated
def search(queries: Any, rows: Any, k: int, metric: str | Metric = "l2") -> tuple[Any, Any]:
    """The k nearest of `rows` (N, d) to each of `queries` (Q, d).

    Args:
        queries: what `distance` takes, finite: torch tensors, numpy arrays, lists and more of float16, bfloat16,
            float32, float64 or int8.
        rows: the same. Their dtypes may differ.
        k: from 1 to N.
        metric: one that states a form of search, by name or as an object: l2, sqeuclidean, l1, cosine (1 - cos), dot.

    Returns:
        Distances (Q, k) float32, where one side is float64 float64, and row numbers (Q, k) int64; tensors on the
        device of `queries`, for what is not a tensor arrays. Nearest first, for dot the largest inner product first,
        equal distances by the lower row number. Distances are recomputed from the rows in float64, without
        cancellation. The cosine distance to a zero vector is nan and comes last. The bits depend on no state of
        torch's and not on the number of threads, see `isolation`.

    Raises:
        UserError: for shapes, dtypes, k, or values that cannot be searched, and tensors that require grad (but in
            `torch.no_grad()`).
    """
    return Index(rows, metric).search(queries, k)


class Index:
    """Rows to be searched many times with one metric: keeps what must be known of them (one number a row).

    Args:
        rows: (N, d), see `search`; they stay where they are and are not copied, but for what `as_tensor` must copy and
            a view on a GPU that begins between multiples of 16 bytes. They must not change: what is kept of them would
            not hold, and neighbours be missed without a word. Make a new index of changed rows.
        metric: see `search`.
        method: kernels (Triton, on a GPU, not for int8 rows), blocks (matrix products, anywhere) or auto: kernels
            where they can.

    Threads may search together. After a fork the child must not search, see `distance`.
    """

    @isolated
    def __init__(self, rows: Any, metric: str | Metric = "l2", method: str = "auto") -> None:
        self.ranking = ranking(metric)
        self.rows = checked_rows(rows)
        self.method = _method(method, self.rows)
        kernels = self.method == "kernels"
        self.rows = placed(self.rows) if kernels else self.rows
        self._scorer = scorer_of(self.rows, self.ranking.name)
        self._kernels = KernelSearch(self.rows, self.ranking.name, self._scorer) if kernels else None
        self._replays = Replays(self._kernels) if self._kernels else None
        self.doubtful = 0  # queries of the last search that the kernels' first choice could not vouch for
        self.rescanned = 0  # those of them for which every row was read again

    @isolated
    def search(self, queries: Any, k: int) -> tuple[Any, Any]:
        """The k nearest rows of each of `queries` (Q, d): see `search`."""
        wanted = checked_queries(queries, self.rows.shape, k)
        if not len(wanted):
            return nothing_found(queries, wanted, self.rows, int(k))
        here = wanted.to(self.rows.device)
        found = self._replays.nearest(here, int(k)) if self._replays else None
        if found is None:
            _, distances, index = self.nearest(here, int(k))
        else:
            distances, index, status, self.doubtful = (
                found.distances,
                found.rows,
                found.status,
                found.doubtful,
            )
            if doubt := self._in_doubt(status, here, int(k)):
                lines, _, distances[lines], index[lines] = doubt
        return given_back(queries, wanted, distances, index)

    def keys(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys float64, see `ranking`, and rows, each (Q, k), of checked queries on the device."""
        found = self._replays.nearest(queries, k, with_keys=True) if self._replays else None
        if found is None or found.keys is None:
            keys, _, index = self.nearest(queries, k)
            return keys, index
        keys, index, self.doubtful = found.keys, found.rows, found.doubtful
        if doubt := self._in_doubt(found.status, queries, k):
            lines, keys[lines], _, index[lines] = doubt
        return keys, index

    def nearest(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Keys float64, see `ranking`, distances float32 and rows, each (Q, k), of checked queries on the device."""
        self.doubtful = self.rescanned = 0
        if self._kernels is None or not self._kernels.can(queries, k):
            keys, index = self._certain(queries, k)
            return keys, self._distances(keys, queries), index
        count = self._kernels.most_queries(len(queries), k)
        parts = [self._kernel_block(self._kernels, some, k) for some in _split(queries, count)]
        keys, distances, index, status = (_joined(list(each)) for each in zip(*parts, strict=True))
        if doubt := self._in_doubt(status.numpy(), queries, k):
            lines, keys[lines], distances[lines], index[lines] = doubt
        return keys, distances, index

    def _kernel_block(
        self, kernels: KernelSearch, queries: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Keys, distances, rows and status of one block, after a second choice for lines in doubt."""
        found = kernels.nearest(queries, k)
        if queries.is_cuda:
            torch.cuda.current_stream(queries.device).synchronize()
        keys, distances, index, status = found.keys, found.distances, found.index, found.status
        doubt = status.nonzero()[:, 0].to(queries.device)
        self.doubtful += len(doubt)
        kernels.learn(len(doubt), len(queries))
        for some, again in kernels.second(found, doubt, k):
            keys[some], distances[some], index[some] = again.keys, again.distances, again.index
            status[some.cpu()] = again.status
        return keys, distances, index, status

    def _in_doubt(
        self, status: np.ndarray[Any, Any], queries: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor] | None:
        """Of the queries whose status is not 0, if any: which they are, and their keys, distances and rows."""
        self.rescanned = int(np.count_nonzero(status))
        if not self.rescanned:
            return None
        lines = torch.from_numpy(status.nonzero()[0]).to(queries.device)
        keys, index = self._certain(queries[lines], k)
        return lines, keys, self._distances(keys, queries), index

    def _distances(self, keys: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        return self.ranking.finish(keys).to(result_dtype(queries, self.rows))

    def _certain(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [self._certain_block(some, k) for some in _split(queries, QUERY_BLOCK)]
        return _joined([part[0] for part in parts]), _joined([part[1] for part in parts])

    def _certain_block(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        exact = torch.promote_types(queries.dtype, self.rows.dtype)
        queries = queries.to(torch.promote_types(exact, torch.float32))
        lengths = self._scorer.lengths(queries)
        # a float64 query's length may overflow although its elements do not
        if not (bool(torch.isfinite(lengths).all()) or bool(torch.isfinite(queries).all())):
            raise UserError("queries hold nan or infinity")
        if self.ranking.squared:
            check_squares("queries", queries, lengths)
        queries = queries.to(self._scorer.precision(queries, lengths))
        found = propose(self._scorer, queries, len(self.rows), margin(k, len(self.rows)))
        return settle(self.ranking, self.rows, self._scorer, queries, lengths, found, k)


def _method(method: str, rows: torch.Tensor) -> str:
    if method not in METHODS:
        raise UserError(f"method={method} must be one of {', '.join(METHODS)}")
    reason = why_not(rows.device.type)
    if reason is None and rows.dtype == torch.int8:
        reason = "take no int8 rows; use method=blocks or auto"
    if method == "kernels" and reason is not None:
        raise UserError(f"method=kernels {reason}".replace("reduction=blocked", "method=blocks"))
    if method == "auto":
        return "kernels" if rows.is_cuda and reason is None else "blocks"
    return method


def _split(queries: torch.Tensor, count: int) -> tuple[torch.Tensor, ...]:
    return queries.split(count)  # type: ignore[no-any-return]


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def scorer_of(rows: torch.Tensor, metric: str) -> ProductScorer | MaximumScorer:
    """What scores rows (N, d) for a form of search, after reading them once."""
    return MaximumScorer.of(rows) if metric == "l1" else ProductScorer.of(rows, metric)


def checked_rows(rows: Any) -> torch.Tensor:
    """Rows as a contiguous tensor (N, d). Raises `UserError` for what cannot be searched."""
    matrix = as_tensor("rows", rows)
    if matrix.dim() != 2 or 0 in matrix.shape:
        raise UserError(f"rows of shape {tuple(matrix.shape)} must be (count, dim), neither of them 0")
    return matrix.contiguous()


def checked_queries(values: Any, shape: Sequence[int], k: int) -> torch.Tensor:
    """Queries as a contiguous tensor (Q, d) that fits rows of `shape` (N, d), and k as well. Raises `UserError`."""
    count, dim = shape
    queries = as_tensor("queries", values)
    if queries.dim() != 2:
        raise UserError(f"queries of shape {tuple(queries.shape)} must be (count, dim)")
    if queries.shape[1] != dim:
        raise UserError(f"queries of dim {queries.shape[1]} do not fit rows of dim {dim}")
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise UserError(f"k={k!r} must be a whole number")
    if not 1 <= k <= count:
        raise UserError(f"k={k} must be from 1 to the number of rows, {count}")
    return (queries.float() if queries.dtype == torch.int8 else queries).contiguous()


def result_dtype(queries: torch.Tensor, rows: torch.Tensor) -> torch.dtype:
    """Of the distances: float64 where one side is."""
    return torch.float64 if torch.float64 in (queries.dtype, rows.dtype) else torch.float32


def nothing_found(values: Any, queries: torch.Tensor, rows: torch.Tensor, k: int) -> tuple[Any, Any]:
    """The answer to no queries: (0, k) twice."""
    distances = torch.empty(0, k, dtype=result_dtype(queries, rows), device=queries.device)
    return given_back(values, queries, distances, torch.empty_like(distances, dtype=torch.int64))


def given_back(
    values: Any, queries: torch.Tensor, distances: torch.Tensor, index: torch.Tensor
) -> tuple[Any, Any]:
    """Distances and rows where the queries lie; arrays unless `values`, of which these were made, are tensors."""
    if distances.device != queries.device:
        distances, index = distances.to(queries.device), index.to(queries.device)
    return (distances.numpy(), index.numpy()) if becomes_numpy(values, queries) else (distances, index)
