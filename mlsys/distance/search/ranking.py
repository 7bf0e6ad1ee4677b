"""The forms of search: the float64 key that orders rows, and the distance that a key stands for.

A metric's module says which of them is its own; scores, kernels and their error bounds are made for these forms.

Keys are computed directly from a query and a row, never through expanded squares, so near-duplicates keep all
their digits. The smaller key is the nearer row; equal keys go by the lower index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mlsys.distance import metrics
from mlsys.distance.metrics import Metric
from mlsys.errors import UserError

Keys = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Ranking:
    """One form: `keys(x, y)` of float64 (..., d) gives (...); `finish` makes distances of keys.

    squared: whether keys are sums of squares, which must stay in float64's range.
    """

    name: str
    keys: Keys
    finish: Callable[[torch.Tensor], torch.Tensor]
    squared: bool = False


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
    "l2": Ranking("l2", _squares, torch.sqrt, squared=True),
    "sqeuclidean": Ranking("sqeuclidean", _squares, _same, squared=True),
    "l1": Ranking("l1", _absolutes, _same),
    "cosine": Ranking("cosine", _angles, _undefined_is_nan, squared=True),
    "dot": Ranking("dot", _products, torch.neg),
}


def ranking(metric: str | Metric) -> Ranking:
    """The form in which a metric, by its name or as an object, is searched. Raises `UserError` where it has none."""
    chosen = metrics.get(metric)
    if chosen.search is None:
        raise UserError(
            f"metric={chosen.name} cannot be searched: {type(chosen).__name__} states no form of search; "
            f"{', '.join(metrics.searchable())} do"
        )
    if chosen.search not in RANKINGS:
        raise UserError(f"metric={chosen.name}: search={chosen.search} is none of {', '.join(RANKINGS)}")
    return RANKINGS[chosen.search]


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
