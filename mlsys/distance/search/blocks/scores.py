"""Fast approximate scores of rows, block by block, each with a proven bound on its error.

A score is larger for a nearer row. It only proposes candidates; whether they suffice is decided with `floor`:
no row whose score lies below it can be as near as the key it was computed for. The bounds are those of a sum
of d terms in floating point in any order (Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from mlsys.distance.threads import spread
from mlsys.errors import UserError

STEP_BYTES = {"cpu": 4 << 20, "cuda": 256 << 20}
FULL = ("ieee", "none")  # of torch's float32 precisions
SMALLEST = 1e-145  # norms whose squares lose no digit in float64
LARGEST = 6e153  # norms between which squared distances stay in float64
TINY, HUGE = 1e-25, 1e37  # squares outside may lose digits in float32


class Scorer(Protocol):
    """Scores of a query block against rows [start, stop), and the bound that goes with them."""

    def block(self, queries: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Scores (Q, stop - start) of float32 or float64 queries (Q, d)."""
        ...

    def lengths(self, queries: torch.Tensor) -> torch.Tensor:
        """What the bounds take of each query: a norm (Q,) float64."""
        ...

    def floor(self, queries: torch.Tensor, lengths: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """For a key of each query (Q,) the float64 score (Q,) below which no row has as small a key."""
        ...

    def precision(self, queries: torch.Tensor, lengths: torch.Tensor) -> torch.dtype:
        """The dtype to score these queries in: float64 where float32 could overflow or lose everything."""
        ...


def slack(rows: torch.Tensor) -> float:
    """Relative error bound of a sum over a row and a few operations more, in the rows' or wider precision."""
    return 1.5 * (rows.shape[1] + 16) * torch.finfo(torch.promote_types(rows.dtype, torch.float32)).eps


def underflow(queries: torch.Tensor) -> float:
    """What products that vanish below the smallest normal number can add up to."""
    return torch.finfo(queries.dtype).tiny * 1e10


def each_row(rows: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """What `function` of (n, d) gives, (n,), for all rows as float64: in pieces, on a CPU by several threads."""
    values = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
    count = max(1, STEP_BYTES[rows.device.type] // (rows.shape[1] * 8))

    def work(start: int) -> None:
        values[start : start + count] = function(rows[start : start + count])

    if rows.is_cuda:
        for start in range(0, len(rows), count):
            work(start)
    else:
        spread(work, range(0, len(rows), count))
    return values


@dataclass
class ProductScorer:
    """Scores x·y·scale + bias from one matrix product: for dot, cosine and (squared) euclidean distances."""

    metric: str
    rows: torch.Tensor
    scale: torch.Tensor | None
    bias: torch.Tensor | None
    smallest: float  # norms of the shortest row that is not zero, and of the longest
    largest: float

    @classmethod
    def of(cls, rows: torch.Tensor, metric: str) -> ProductScorer:
        """Read the rows (N, d) once for their norms. What is kept: a number a row for all metrics but dot."""
        norms = each_row(rows, _norms)
        check_finite(norms)
        if metric != "dot":
            check_squares("rows", rows, norms)
        scale = bias = None
        nonzero = norms[norms > 0]
        if metric == "cosine":
            scale = torch.where(norms > 0, 1 / norms, 0.0)
            if len(nonzero) < len(norms):
                bias = torch.zeros_like(norms).masked_fill_(norms == 0, -torch.inf)
        elif metric != "dot":
            bias = norms.square().mul_(-0.5)
        extremes = (float(nonzero.min()), float(nonzero.max())) if len(nonzero) else (1.0, 1.0)
        return cls(metric, rows, scale, bias, *extremes)

    def block(self, queries: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """See `Scorer`."""
        scores = product(queries, self.rows[start:stop])
        if self.scale is not None:
            scores *= self.scale[start:stop].to(queries.dtype)
        if self.bias is not None:
            scores += self.bias[start:stop].to(queries.dtype)
        return scores

    def lengths(self, queries: torch.Tensor) -> torch.Tensor:
        """Euclidean norms."""
        return torch.linalg.vector_norm(queries.double(), dim=1)  # type: ignore[no-any-return]

    def floor(self, queries: torch.Tensor, lengths: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """See `Scorer`."""
        longest = 1.0 if self.metric == "cosine" else self.largest
        error: torch.Tensor = lengths * longest
        if self.metric == "dot":
            score = -keys
        elif self.metric == "cosine":
            score = torch.where(keys.isinf(), -torch.inf, lengths * (1 - keys))
        else:
            score = (lengths.square() - keys) / 2
            error = error + longest**2 + lengths.square() * torch.finfo(torch.float64).eps
        floor: torch.Tensor = score - slack(self.rows) * error - underflow(queries)
        return floor

    def precision(self, queries: torch.Tensor, lengths: torch.Tensor) -> torch.dtype:
        """See `Scorer`."""
        norms = [norm for norm in lengths.tolist() if norm > 0]
        extremes = (*norms, self.smallest, self.largest)
        safe = not norms or (max(extremes) ** 2 < HUGE and min(extremes) ** 2 > TINY)
        return queries.dtype if safe else torch.float64


def product(queries: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Queries (Q, d) times rows (N, d), (Q, N), to the queries' precision: the error bounds rest on it.

    Where the program lets float32 products be less than that (tf32, bfloat16), they are taken in float64, which no
    setting touches. The setting is the process': it is read and never written.
    """
    if queries.dtype == torch.float64 or full_float32(queries.device.type):
        scores = _product(queries, rows.to(queries.dtype))
        if queries.dtype == torch.float64 or full_float32(
            queries.device.type
        ):  # nor set by a thread meanwhile
            return scores
    scores = queries.new_empty(len(queries), len(rows))
    count = max(1, 4 * STEP_BYTES[rows.device.type] // (8 * rows.shape[1]))
    for start in range(0, len(rows), count):
        part = slice(start, start + count)
        scores[:, part] = _product(queries.double(), rows[part].double())
    return scores


def full_float32(device: str) -> bool:
    """Whether the program wants float32 products of `device` in full: read without mixing torch's two interfaces."""
    backend = torch.backends.cuda if device == "cuda" else torch.backends.mkldnn
    return backend.matmul.fp32_precision in FULL


def _product(queries: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    scores: torch.Tensor = (rows @ queries.T).T if _rows_first(queries) else queries @ rows.T
    return scores


def _rows_first(queries: torch.Tensor) -> bool:
    """Whether rows times queries is the faster product on a CPU (measured: experiments/h100_search)."""
    count, dim = queries.shape
    return not queries.is_cuda and (count == 1 or count >= 32 or (count >= 8 and dim >= 512))


def _norms(rows: torch.Tensor) -> torch.Tensor:
    """Euclidean norms (N,) float64; summed in float32 where that loses no more than a float32 score does."""
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
    squares = wide.square().sum(1).double()
    odd = ~((squares > TINY) & (squares < HUGE))
    if odd.any():
        squares[odd] = rows[odd].double().square().sum(1)
    return squares.sqrt_()


def check_squares(name: str, values: torch.Tensor, norms: torch.Tensor, first: int = 0) -> None:
    """Raise `UserError` for the first value (N, d) whose squares float64 cannot hold; zeros are fine.

    first: how many came before these values.
    """
    if values.dtype != torch.float64:
        return
    odd = ((norms < SMALLEST) | (norms > LARGEST)).nonzero()[:, 0]
    lost = odd[values[odd].any(1)]
    if len(lost):
        row = int(lost[0])
        size, way = ("large", "down") if norms[row] > LARGEST else ("small", "up")
        raise UserError(
            f"{name} cannot be searched: row {first + row} is too {size} to be squared; scale all {way}"
        )


def check_finite(norms: torch.Tensor) -> None:
    """Raise `UserError` for the first row whose norm is not finite."""
    odd = (~torch.isfinite(norms)).nonzero()
    if len(odd):
        raise UserError(f"rows cannot be searched: row {int(odd[0])} holds nan, infinity or too large values")
