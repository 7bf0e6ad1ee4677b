"""`generator.dtype=int8` on a CPU: linear layers whose weights are 8-bit integers, multiplied as such.

Weights have one scale for each output channel, inputs one for each row, both symmetric. The sums of a row are whole
numbers, so what a prompt answers does not depend on the prompts beside it. What is no linear layer stays float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mlsys.errors import UserError
from mlsys.rag.generator.linear import PLAIN

Product = Callable[[torch.Tensor], torch.Tensor]
WHOLE, HALF = 127, 63  # levels of an input on each side of zero
LEAST = 1e-12


def quantise(model: Any) -> None:
    """Replace the products of the model's linear layers; their float weights are let go. Raises UserError."""
    layers: list[Any] = [module for module in model.modules() if type(module) in PLAIN]
    try:
        levels = _levels()
        embedded = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
        for layer in layers:
            layer.forward = _product(layer.weight.detach(), layer.bias, levels)
            if id(layer.weight) not in embedded:
                layer.weight = torch.nn.Parameter(layer.weight.new_empty(0), requires_grad=False)
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"generator.dtype=int8: this torch has no such products: {error}") from error


def _levels() -> int:
    """As many as a product can take: without VNNI's instructions sums of two products have 16 bits and saturate."""
    weight = torch.full((16, 64), 127.0)
    found = _product(weight, None, WHOLE)(torch.ones(2, 64))
    return WHOLE if torch.allclose(found, torch.full((2, 16), 127.0 * 64)) else HALF


def _product(weight: torch.Tensor, bias: torch.Tensor | None, levels: int) -> Product:
    scales = (weight.abs().amax(1) / 127).clamp_min(LEAST)
    whole = torch.round(weight / scales[:, None]).to(torch.int8)
    kernels: Any = torch.ops.onednn
    packed = kernels.qlinear_prepack(whole, None)
    zeros = torch.zeros(len(scales), dtype=torch.int32)
    middle = levels + 1

    def product(x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        steps = rows.abs().amax(1, keepdim=True).clamp_min_(LEAST).div_(levels)
        inputs = (rows / steps).round_().add_(middle).to(torch.uint8)
        sums = kernels.qlinear_pointwise(
            inputs, 1.0, middle, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        found = sums.mul_(steps) if bias is None else torch.addcmul(bias, sums, steps)
        return found.reshape(*x.shape[:-1], len(scales))

    return product
