"""The distances as operators that torch knows: under `torch.compile`, autograd, `torch.func` and fake tensors.

`torch.ops.mlsys.distance` is what `distance` calls wherever torch must see the call; elsewhere plain tensors go the
short way, without torch's dispatcher. The backward of it is an operator too. Where a gradient is itself to be
differentiated, the metric's `gradient` in torch takes its place, so that torch can go on from there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.compiler import is_compiling

from mlsys.distance import metrics
from mlsys.distance.arrays import check_dtype
from mlsys.distance.isolation import isolated
from mlsys.distance.language import why_not
from mlsys.distance.metrics import Metric, Tensor
from mlsys.errors import UserError

KEPT = 256  # metrics that are no options, for the life of the process
_others: dict[str, Metric] = {}


def key_of(metric: str | Metric) -> str:
    """What an operator calls a metric: its name, for an object that is no option one that finds it again."""
    if isinstance(metric, str):
        return metric
    if is_compiling():
        raise UserError(f"metric={metric.name}: torch.compile takes a metric by its name")
    name = metrics.get(metric).name
    if name in metrics.names() and metrics.get(name) == metric:
        return name
    for key, known in _others.items():
        if known is metric:
            return key
    if len(_others) >= KEPT:
        raise UserError(
            f"metric={name}: over {KEPT} metric objects were differentiated; make one and keep it"
        )
    key = f"{name}#{len(_others)}"
    _others[key] = metric
    return key


def found(key: str) -> Metric:
    """The metric of a key. Raises UserError for an unknown name."""
    return _others.get(key) or metrics.get(key)


def result_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64 elements, float32 for all others."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@torch.library.custom_op("mlsys::distance", mutates_args=())
def distance_op(x: torch.Tensor, y: torch.Tensor, metric: str, reduction: str = "auto") -> torch.Tensor:
    """The distance of two vectors (n,), 0-d, or of each pair of rows of two matrices (B, n), (B,)."""
    return _computed(x, y, metric, reduction)


@isolated
def _computed(x: torch.Tensor, y: torch.Tensor, metric: str, reduction: str) -> torch.Tensor:
    from mlsys.distance import pair
    from mlsys.distance.rows import paired

    check_alike(x, y)
    if x.shape != y.shape or x.ndim not in (1, 2):
        raise UserError(f"x of shape {tuple(x.shape)} and y of {tuple(y.shape)} are no pairs of vectors")
    a, b = x.detach().resolve_neg(), y.detach().resolve_neg()
    if x.ndim == 1:
        value = pair.of_tensors(a, b, _others.get(metric, metric), reduction)
        return value.clone() if value.is_cuda else value  # in memory that a graph being captured allocates
    return paired.computed(a, b, found(metric))


def check_alike(x: torch.Tensor, y: torch.Tensor) -> None:
    """Raise UserError for what no caller of ours passes to an operator: its elements would be read as others."""
    for name, values in (("x", x), ("y", y)):
        check_dtype(name, values)
    if x.dtype != y.dtype or x.device != y.device:
        raise UserError("x and y must be of one dtype and on one device")


@distance_op.register_fake
def _(x: torch.Tensor, y: torch.Tensor, metric: str, reduction: str = "auto") -> torch.Tensor:
    found(metric)
    return x.new_empty(x.shape[:-1], dtype=result_dtype(x.dtype))


@torch.library.custom_op("mlsys::distance_backward", mutates_args=())
def backward_op(
    weight: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    metric: str,
    of_x: bool,
    of_y: bool,
    value: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What x and y (B, n) change their rows' distances by, times weight (B,); empty where it was not asked for.

    value: the distances (B,) where they are known.
    """
    return _slopes(weight, x, y, metric, of_x, of_y, value)


@isolated
def _slopes(
    weight: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    metric: str,
    of_x: bool,
    of_y: bool,
    value: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    chosen = found(metric)
    if chosen.slope is not None and x.is_cuda and x.numel() and why_not("cuda") is None:
        from mlsys.distance.rows import gpu

        return gpu.slopes(weight, x, y, chosen, of_x, of_y, value)
    left, right = slopes_in_torch(weight, x, y, chosen)
    nothing = x.new_empty(0)
    return left.contiguous() if of_x else nothing, right.contiguous() if of_y else nothing


@backward_op.register_fake
def _(
    weight: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    metric: str,
    of_x: bool,
    of_y: bool,
    value: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    shape = tuple(x.shape)
    return x.new_empty(shape if of_x else 0), x.new_empty(shape if of_y else 0)


def slopes_in_torch(weight: Tensor, x: Tensor, y: Tensor, metric: Metric) -> tuple[Tensor, Tensor]:
    """The metric's gradient in torch, (B, n) each and of x's dtype."""
    wide = result_dtype(x.dtype)

    def distances(a: Tensor, b: Tensor, name: str) -> Tensor:
        return apply(a, b.expand_as(a), name)[:, None]

    left, right = metric.gradient(weight[:, None], x.to(wide), y.to(wide), distances)
    return left.to(x.dtype), right.to(x.dtype)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, y, ctx.metric, _ = inputs
    ctx.save_for_backward(x, y, output)


def _backward(ctx: Any, weight: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
    x, y, value = ctx.saved_tensors
    of_x, of_y = ctx.needs_input_grad[:2]
    lone = x.ndim == 1
    if lone:
        x, y, value, weight = x[None], y[None], value[None], weight[None]
    if torch.is_grad_enabled():  # this gradient is to be differentiated in its turn
        left, right = slopes_in_torch(weight, x, y, found(ctx.metric))
    else:
        left, right = backward_op(weight, x, y, ctx.metric, of_x, of_y, value)
    if lone:
        left, right = left.reshape(-1), right.reshape(-1)
    return left if of_x else None, right if of_y else None, None, None


distance_op.register_autograd(_backward, setup_context=_setup)


def _many(
    info: Any, in_dims: Any, x: Tensor, y: Tensor, metric: str, reduction: str = "auto"
) -> tuple[Tensor, int]:
    x, y = (_in_front(values, dim, info.batch_size) for values, dim in zip((x, y), in_dims, strict=False))
    return apply(_flat(x), _flat(y), metric, reduction).reshape(x.shape[:-1]), 0


distance_op.register_vmap(_many)


class Transformed(torch.autograd.Function):
    """The operator where `torch.func` transforms it, which asks for a function of this form."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, metric: str, reduction: str) -> Tensor:
        """The distance."""
        return distance_op(x, y, metric, reduction)

    setup_context = staticmethod(_setup)
    backward = staticmethod(_backward)
    vmap = staticmethod(_many)


def apply(x: Tensor, y: Tensor, metric: str, reduction: str = "auto") -> Tensor:
    """The operator, in the form that its caller can differentiate or transform."""
    if not is_compiling() and torch._C._are_functorch_transforms_active():
        return Transformed.apply(x, y, metric, reduction)  # type: ignore[no-untyped-call]
    return distance_op(x, y, metric, reduction)


@backward_op.register_vmap
def _(
    info: Any,
    in_dims: Any,
    weight: Tensor,
    x: Tensor,
    y: Tensor,
    metric: str,
    of_x: bool,
    of_y: bool,
    value: Tensor | None = None,
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    weight, x, y = (
        _in_front(values, dim, info.batch_size) for values, dim in zip((weight, x, y), in_dims, strict=False)
    )
    if value is not None:
        value = _in_front(value, in_dims[-1], info.batch_size).reshape(-1)
    parts = backward_op(weight.reshape(-1), _flat(x), _flat(y), metric, of_x, of_y, value)
    left, right = (
        part.reshape(x.shape if asked else (len(x), 0))
        for part, asked in zip(parts, (of_x, of_y), strict=True)
    )
    return (left, right), (0, 0)


def _in_front(values: Tensor, dim: int | None, count: int) -> Tensor:
    """With the batch as its first dimension."""
    return values.expand(count, *values.shape) if dim is None else values.movedim(dim, 0)


def _flat(values: Tensor) -> Tensor:
    """As one matrix of rows."""
    return values.reshape(-1, values.shape[-1]) if values.ndim > 2 else values
