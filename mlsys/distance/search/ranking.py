"""What a metric means to a search: the float64 key that orders rows, and the distance that a key stands for.

Keys are computed directly from a query and a row, never through expanded squares, so near-duplicates keep all
their digits. The smaller key is the nearer row; equal keys go by the lower index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mlsys.errors import UserError

Keys = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Ranking:
    """One metric's order: `keys(x, y)` of float64 (..., d) gives (...); `finish` makes distances of keys."""

    name: str
    keys: Keys
    finish: Callable[[torch.Tensor], torch.Tensor]


def _sum(terms: torch.Tensor) -> torch.Tensor:
    """Σ over the last dimension, each line's added in one order: that of many lines.

    A lone long line torch would split over its threads; as one of two it does not. Equal rows must tie to the bit,
    wherever the pieces end in which candidates are recomputed.
    """
    lone = terms.numel() == terms.shape[-1]
    return terms.expand(2, *terms.shape).sum(-1)[0] if lone else terms.sum(-1)


def _squares(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _sum((x - y).square_())


def _absolutes(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _sum((x - y).abs_())


def _products(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _sum(x * y).neg_()


def _norm(x: torch.Tensor) -> torch.Tensor:
    return _sum(x * x).sqrt_()


def _angles(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """1 - cos as half the squared distance of the unit vectors: exact near 0. A zero vector: inf."""
    x_norm, y_norm = _norm(x), _norm(y)
    keys = _squares(x / x_norm[..., None], y / y_norm[..., None]).mul_(0.5)
    return keys.masked_fill_((x_norm == 0) | (y_norm == 0), torch.inf)


def _same(keys: torch.Tensor) -> torch.Tensor:
    return keys


def _undefined_is_nan(keys: torch.Tensor) -> torch.Tensor:
    return keys.masked_fill(keys.isinf(), torch.nan)


RANKINGS = {
    "l2": Ranking("l2", _squares, torch.sqrt),
    "sqeuclidean": Ranking("sqeuclidean", _squares, _same),
    "l1": Ranking("l1", _absolutes, _same),
    "cosine": Ranking("cosine", _angles, _undefined_is_nan),
    "dot": Ranking("dot", _products, torch.neg),
}


def ranking(metric: object) -> Ranking:
    """The ranking of a metric, a name or an object with a `name`. Raises `UserError` for an unknown one."""
    name = metric if isinstance(metric, str) else getattr(metric, "name", None)
    if name not in RANKINGS:
        raise UserError(f"metric={name or metric} cannot be searched: choose one of {', '.join(RANKINGS)}")
    return RANKINGS[name]


def nearest(
    query: torch.Tensor, key: torch.Tensor, index: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of flat candidates (P,) keep each query's k best, by key, then by lower index; sorted."""
    order = torch.argsort(index, stable=True)
    order = order[torch.argsort(key[order], stable=True)]
    order = order[torch.argsort(query[order], stable=True)]
    query, key, index = query[order], key[order], index[order]
    first = torch.searchsorted(query, query)
    best = torch.arange(len(query), device=query.device) - first < k
    return query[best], key[best], index[best]
