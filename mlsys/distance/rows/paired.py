"""Distances along a dimension, as a user asks for them: shapes that broadcast, any strides, any input, gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch.compiler import is_compiling

from mlsys.distance import metrics, reductions
from mlsys.distance.arrays import (
    as_tensor,
    becomes_numpy,
    check_dtype,
    check_kind,
    check_whole,
    name_of,
    tracked,
)
from mlsys.distance.isolation import exposed, isolation
from mlsys.distance.language import why_not
from mlsys.distance.metrics import Metric
from mlsys.distance.operators import apply, key_of, result_dtype
from mlsys.distance.reductions import Reduction
from mlsys.errors import UserError


def along(
    x: Any, y: Any, metric: str | Metric, reduction: str | Reduction = "auto", dim: int | None = None
) -> Any:
    """What `distance` says, for whatever is not a pair of plain vectors."""
    if is_compiling() or not exposed():
        return _along(x, y, metric, reduction, dim)
    with isolation():
        return _along(x, y, metric, reduction, dim)


def _along(x: Any, y: Any, metric: str | Metric, reduction: str | Reduction, dim: int | None) -> Any:
    a, b = read("x", x), read("y", y)
    if a.dtype != b.dtype:
        raise UserError(f"x is {name_of(a.dtype)} and y is {name_of(b.dtype)}: a distance needs one dtype")
    if a.device != b.device:
        raise UserError(f"x is on {a.device} and y on {b.device}: a distance needs both on one device")
    named = _named(reduction)
    if dim is None:
        _check_vectors(a, b)
    elif named != "auto":
        raise UserError(f"reduction={named} is for two vectors: leave it out where dim={dim} is given")
    else:
        a, b = _last(a, b, dim)
    shape = a.shape[:-1]
    if a.ndim > 2:
        a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    if dim is None or a.ndim == 1 or is_compiling() or tracked(a) or tracked(b):
        value = apply(a, b, key_of(metric), named)
    else:  # nobody else must see it: without torch's dispatcher a call costs half
        value = computed(a.detach().resolve_neg(), b.detach().resolve_neg(), metrics.get(metric))
    value = value.reshape(shape) if len(shape) > 1 else value
    return value.numpy()[()] if becomes_numpy(x, a) and becomes_numpy(y, b) else value


def read(name: str, values: Any) -> torch.Tensor:
    """`values` as a tensor that torch's transforms still see; whatever is no tensor as `arrays.as_tensor` reads it."""
    if not isinstance(values, torch.Tensor):
        return as_tensor(name, values)
    if is_compiling():
        check_dtype(name, values)
    else:
        check_kind(name, values)
    return values


def _named(reduction: str | Reduction) -> str:
    """The reduction's name. Raises UserError for an object that its name would not find again."""
    if isinstance(reduction, str):
        return reduction
    if reductions.get(reduction.name) != reduction:
        raise UserError(
            f"reduction={reduction!r} has no gradient: pass a name, as reduction={reduction.name}"
        )
    return reduction.name


def _check_vectors(x: torch.Tensor, y: torch.Tensor) -> None:
    for name, vector in (("x", x), ("y", y)):
        if vector.ndim != 1:
            raise UserError(f"{name} must be 1-D, not of shape {tuple(vector.shape)}; dim=-1 takes rows")
    if x.shape != y.shape:
        raise UserError(f"x has {len(x)} elements and y has {len(y)}: a distance needs as many in both")


def _last(x: torch.Tensor, y: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Both broadcast to one shape, with `dim` as the last dimension."""
    check_whole("dim", dim)
    ndim = max(x.ndim, y.ndim)
    place = dim - ndim if dim >= 0 else dim
    shapes = f"x of shape {tuple(x.shape)} and y of shape {tuple(y.shape)}"
    if not -min(x.ndim, y.ndim) <= place < 0:
        raise UserError(f"dim={dim} is not a dimension of {shapes}")
    if x.shape[place] != y.shape[place]:
        raise UserError(f"{shapes} differ along dim={dim}: a distance needs as many elements in both")
    if not all(1 in pair or pair[0] == pair[1] for pair in zip(x.shape[::-1], y.shape[::-1], strict=False)):
        raise UserError(f"{shapes} do not broadcast")
    if x.shape != y.shape:
        x, y = torch.broadcast_tensors(x, y)
    return x.movedim(place, -1), y.movedim(place, -1)


def computed(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> torch.Tensor:
    """The distance of each row of x and y, plain tensors (B, n) of one dtype and device: (B,)."""
    out = torch.empty(len(x), dtype=result_dtype(x.dtype), device=x.device)
    if x.is_cuda:
        reason = why_not("cuda")
        if reason is not None:
            raise UserError(f"distances of rows on a GPU: it {reason}")
        from mlsys.distance.rows import gpu

        if len(x):
            gpu.distances(x, y, metric, out)
    else:
        from mlsys.distance.rows import cpu

        cpu.distances(x, y, metric, out)
    return out
