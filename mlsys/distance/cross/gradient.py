"""What the rows change a matrix of distances by: products of matrices where the metric is one, else pair by pair."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mlsys.distance.cross.products import FORMS
from mlsys.distance.metrics import Metric, Tensor

PAIRS_ELEMENTS = {"cpu": 1 << 22, "cuda": 1 << 26}  # elements of the pairs that are taken at once
NEAR = 2.0**-16  # of a row's length: of nearer rows float64 products keep too few digits
Slopes = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def gradient(
    weight: Tensor, x: Tensor, y: Tensor, value: Tensor, metric: Metric, slopes: Slopes
) -> tuple[Tensor, Tensor]:
    """What x (Q, n) and y (N, n) change Σ weight · distances by; weight and value, the distances, (Q, N).

    Operations that torch can differentiate again if `slopes`, the gradient of pairs of rows, are such.
    """
    if metric.search in FORMS and metric.name == metric.search:
        left, right = _products(metric.name, weight.double(), x.double(), y.double(), value.double())
        return left.to(x.dtype), right.to(y.dtype)
    count, n = y.shape
    step = max(1, PAIRS_ELEMENTS[x.device.type] // max(1, y.numel()))
    lefts, right = [], torch.zeros(count, n, dtype=value.dtype, device=x.device)
    for first in range(0, len(x), step):
        some = x[first : first + step]
        pairs = (
            some[:, None].expand(-1, count, n).flatten(0, 1),
            y.expand(len(some), count, n).flatten(0, 1),
        )
        of_rows, values = (sides[first : first + step].reshape(-1) for sides in (weight, value))
        of_x, of_y = slopes(of_rows, *pairs, values)
        lefts.append(of_x.view(len(some), count, n).sum(1, dtype=value.dtype))
        right = right + of_y.view(len(some), count, n).sum(0, dtype=value.dtype)
    return torch.cat(lefts).to(x.dtype) if lefts else torch.zeros_like(x), right.to(y.dtype)


def in_full(
    weight: Tensor, x: Tensor, y: Tensor, value: Tensor, metric: Metric, slopes: Slopes
) -> tuple[Tensor, Tensor]:
    """The same with float64's digits also of float64 near-duplicates; torch cannot differentiate it again.

    While a CUDA graph is captured nothing can wait for which they are: then it is `gradient`.
    """
    capturing = x.is_cuda and torch.cuda.is_current_stream_capturing()
    if x.dtype != torch.float64 or metric.name != "l2" or capturing:
        return gradient(weight, x, y, value, metric, slopes)
    near = (value > 0) & (value < NEAR * torch.linalg.vector_norm(x, dim=1, keepdim=True))
    left, right = gradient(weight.masked_fill(near, 0), x, y, value, metric, slopes)
    for pairs in near.nonzero().split(max(1, PAIRS_ELEMENTS[x.device.type] // max(1, x.shape[1]))):
        line, row = pairs.unbind(1)
        of_x, of_y = slopes(weight[line, row], x[line], y[row], value[line, row])
        left.index_add_(0, line, of_x)
        right.index_add_(0, row, of_y)
    return left, right


def _products(form: str, weight: Tensor, x: Tensor, y: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """In float64, which keeps what cancels between near-duplicates of narrower elements."""
    if form == "dot":
        return weight @ y, weight.T @ x
    if form == "cosine":
        x_norm, y_norm = (torch.linalg.vector_norm(rows, dim=1, keepdim=True) for rows in (x, y))
        p, q, inner = x / x_norm, y / y_norm, weight * (1 - value)
        left = (inner.sum(1, keepdim=True) * p - weight @ q) / x_norm
        return left, (inner.sum(0)[:, None] * q - weight.T @ p) / y_norm
    same = value == 0
    by = (weight / value.masked_fill(same, 1)).masked_fill(same, 0) if form == "l2" else 2 * weight
    return by.sum(1, keepdim=True) * x - by @ y, by.sum(0)[:, None] * y - by.T @ x
