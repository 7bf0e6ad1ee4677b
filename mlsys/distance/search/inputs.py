"""What a search is given and gives back: rows, queries and k, checked, and answers in the form of the queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from mlsys.distance.arrays import as_tensor, becomes_numpy, check_whole, is_plain
from mlsys.errors import UserError


def checked_rows(rows: Any) -> torch.Tensor:
    """Rows as a contiguous tensor (N, d). Raises `UserError` for what cannot be searched."""
    matrix = as_tensor("rows", rows)
    if matrix.dim() != 2 or 0 in matrix.shape:
        raise UserError(f"rows of shape {tuple(matrix.shape)} must be (count, dim), neither of them 0")
    return matrix.contiguous()


def checked_queries(values: Any, shape: Sequence[int], k: int) -> torch.Tensor:
    """Queries as a contiguous tensor (Q, d) that fits rows of `shape` (N, d), and k as well. Raises `UserError`."""
    count, dim = shape
    queries = values if is_plain(values) else as_tensor("queries", values)
    if queries.dim() != 2:
        raise UserError(f"queries of shape {tuple(queries.shape)} must be (count, dim)")
    if queries.shape[1] != dim:
        raise UserError(f"queries of dim {queries.shape[1]} do not fit rows of dim {dim}")
    check_whole("k", k)
    if not 1 <= k <= count:
        raise UserError(f"k={k} must be from 1 to the number of rows, {count}")
    return (queries.float() if queries.dtype == torch.int8 else queries).contiguous()


def each_whole(name: str, values: int | Iterable[int]) -> list[int]:
    """One whole number or several as a list. Raises `UserError` for what is none."""
    found = list(values) if isinstance(values, Iterable) else [values]
    for value in found:
        check_whole(name, value)
    return found


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
