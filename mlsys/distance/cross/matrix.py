"""`cdist`: what a user calls, and the operators that torch sees of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.compiler import is_compiling

from mlsys.distance import metrics
from mlsys.distance.arrays import becomes_numpy, name_of, tracked
from mlsys.distance.cross.gradient import gradient, in_full
from mlsys.distance.isolation import exposed, isolated, isolation
from mlsys.distance.language import why_not
from mlsys.distance.metrics import Metric, Tensor
from mlsys.distance.operators import backward_op, check_alike, found, key_of, result_dtype, slopes_in_torch
from mlsys.distance.rows.paired import read
from mlsys.errors import UserError


def cdist(x: Any, y: Any, metric: str | Metric = "l2") -> Any:
    """The distance of every row of x (Q, n) to every row of y (N, n): (Q, N), as `scipy.spatial.distance.cdist`.

    x, y: what `distance` takes, of one dtype and device. The result is a tensor on that device, for what is no tensor a
    NumPy array; float32, for float64 input float64. Its digits are those of a float64 computation from the elements,
    also for near-duplicates, where the usual product of matrices cancels. Beside the result it takes the memory of a
    block, and of x and y in float64.

    Tensors that require grad have their gradient. Raises UserError for shapes, dtypes and metrics that do not go.
    """
    if is_compiling() or not exposed():
        return _cdist(x, y, metric)
    with isolation():
        return _cdist(x, y, metric)


def _cdist(x: Any, y: Any, metric: str | Metric) -> Any:
    a, b = read("x", x), read("y", y)
    for name, rows in (("x", a), ("y", b)):
        if rows.ndim != 2:
            raise UserError(f"{name} must be 2-D, rows of vectors, not of shape {tuple(rows.shape)}")
    if a.shape[1] != b.shape[1]:
        raise UserError(
            f"x has rows of {a.shape[1]} elements and y of {b.shape[1]}: a distance needs as many in both"
        )
    if a.dtype != b.dtype:
        raise UserError(f"x is {name_of(a.dtype)} and y is {name_of(b.dtype)}: a distance needs one dtype")
    if a.device != b.device:
        raise UserError(f"x is on {a.device} and y on {b.device}: a distance needs both on one device")
    if is_compiling() or tracked(a) or tracked(b):
        value = apply(a, b, key_of(metric))
    else:  # nobody else must see it: without torch's dispatcher a call costs less
        value = _computed(a, b, metrics.get(metric))
    return value.numpy() if becomes_numpy(x, a) and becomes_numpy(y, b) else value


@torch.library.custom_op("mlsys::cdist", mutates_args=())
def cdist_op(x: torch.Tensor, y: torch.Tensor, metric: str) -> torch.Tensor:
    """The distances (Q, N) of all rows of x (Q, n) to all of y (N, n)."""
    check_alike(x, y)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise UserError(f"x of shape {tuple(x.shape)} and y of {tuple(y.shape)} are no rows of one length")
    return _computed(x, y, found(metric))


@isolated
def _computed(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> torch.Tensor:
    x, y = x.detach().resolve_neg(), y.detach().resolve_neg()
    out = torch.empty(len(x), len(y), dtype=result_dtype(x.dtype), device=x.device)
    if not out.numel():
        return out
    if x.is_cuda:
        reason = why_not("cuda")
        if reason is not None:
            raise UserError(f"cdist on a GPU {reason}")
        from mlsys.distance.cross import gpu

        gpu.computed(x, y, metric, out)
    else:
        from mlsys.distance.cross import cpu

        cpu.computed(x, y, metric, out)
    return out


@cdist_op.register_fake
def _(x: torch.Tensor, y: torch.Tensor, metric: str) -> torch.Tensor:
    found(metric)
    return x.new_empty((x.shape[0], y.shape[0]), dtype=result_dtype(x.dtype))


@torch.library.custom_op("mlsys::cdist_backward", mutates_args=())
def cdist_backward_op(
    weight: torch.Tensor, x: torch.Tensor, y: torch.Tensor, value: torch.Tensor, metric: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """What x (Q, n) and y (N, n) change Σ weight · distances by."""
    return _slopes(weight, x, y, value, metric)


@isolated
def _slopes(
    weight: torch.Tensor, x: torch.Tensor, y: torch.Tensor, value: torch.Tensor, metric: str
) -> tuple[torch.Tensor, torch.Tensor]:
    slopes = partial(_kernels, metric=metric)
    left, right = in_full(weight, x, y, value, found(metric), slopes)
    return left.contiguous(), right.contiguous()


def _kernels(weight: Tensor, x: Tensor, y: Tensor, value: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    left, right = backward_op(weight, x, y, metric, True, True, value)
    return left, right


def _in_torch(weight: Tensor, x: Tensor, y: Tensor, _: Tensor, metric: Metric) -> tuple[Tensor, Tensor]:
    return slopes_in_torch(weight, x, y, metric)


@cdist_backward_op.register_fake
def _(
    weight: torch.Tensor, x: torch.Tensor, y: torch.Tensor, value: torch.Tensor, metric: str
) -> tuple[torch.Tensor, torch.Tensor]:
    return x.new_empty(x.shape), y.new_empty(y.shape)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, y, ctx.metric = inputs
    ctx.save_for_backward(x, y, output)


def _backward(ctx: Any, weight: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
    x, y, value = ctx.saved_tensors
    if torch.is_grad_enabled():  # this gradient is to be differentiated in its turn
        slopes = partial(_in_torch, metric=found(ctx.metric))
        left, right = gradient(weight, x, y, value, found(ctx.metric), slopes)
    else:
        left, right = cdist_backward_op(weight, x, y, value, ctx.metric)
    of_x, of_y = ctx.needs_input_grad[:2]
    return left if of_x else None, right if of_y else None, None


cdist_op.register_autograd(_backward, setup_context=_setup)


def _many(info: Any, in_dims: Any, x: Tensor, y: Tensor, metric: str) -> tuple[Tensor, int]:
    def at(part: Tensor, dim: int | None, i: int) -> Tensor:
        return part if dim is None else part.select(dim, i)

    count = range(info.batch_size)
    return torch.stack([apply(at(x, in_dims[0], i), at(y, in_dims[1], i), metric) for i in count]), 0


def _many_backward(
    info: Any, in_dims: Any, weight: Tensor, x: Tensor, y: Tensor, value: Tensor, metric: str
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    parts = list(zip((weight, x, y, value), in_dims, strict=False))
    each = [
        cdist_backward_op(*(part if dim is None else part.select(dim, i) for part, dim in parts), metric)
        for i in range(info.batch_size)
    ]
    left, right = (torch.stack(side) for side in zip(*each, strict=True))
    return (left, right), (0, 0)


cdist_op.register_vmap(_many)
cdist_backward_op.register_vmap(_many_backward)


class Transformed(torch.autograd.Function):
    """The operator where `torch.func` transforms it, which asks for a function of this form."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, metric: str) -> Tensor:
        """The distances."""
        return cdist_op(x, y, metric)

    setup_context = staticmethod(_setup)
    backward = staticmethod(_backward)
    vmap = staticmethod(_many)


def apply(x: Tensor, y: Tensor, metric: str) -> Tensor:
    """The operator, in the form that its caller can differentiate or transform."""
    if not is_compiling() and torch._C._are_functorch_transforms_active():
        return Transformed.apply(x, y, metric)  # type: ignore[no-untyped-call]
    return cdist_op(x, y, metric)
