"""Linear layers on a CPU: weights laid out once for the matrix kernels instead of at every call.

oneDNN rearranges a weight matrix each time a small batch is multiplied with it, which costs as much as the
product. `pack` keeps a rearranged copy. Where the processor has no instructions for bfloat16, long prompts are
multiplied in float32, which such processors do at twice the rate or more, and rounded to bfloat16 afterwards.
"""

from __future__ import annotations

import operator
import platform
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import linear

BATCH = 16  # the number of rows that the layout is chosen for; it serves all others too
WIDE_ROWS = 64
Product = Callable[[torch.Tensor], torch.Tensor]


class Linear(torch.nn.Linear):
    """A layer whose weights come from elsewhere: none are drawn for it first."""

    def reset_parameters(self) -> None:
        """Leave them as they are."""


PLAIN = (torch.nn.Linear, Linear)


def pack(model: Any) -> bool:
    """Replace the products of the model's linear layers. False: this torch cannot, nothing changed."""
    layers: list[Any] = [module for module in model.modules() if type(module) in PLAIN]
    kernels: Any = torch.backends.mkldnn
    if not layers or not kernels.is_available() or layers[0].weight.dtype == torch.float16:
        return False
    try:
        products = [_product(layer) for layer in layers]
        with torch.inference_mode():
            products[0](layers[0].weight.new_zeros((2, layers[0].in_features)))
    except (AttributeError, NotImplementedError, RuntimeError):  # torch without these kernels
        return False
    for layer, product in zip(layers, products, strict=True):
        layer.forward = product
    return True


def _product(layer: torch.nn.Linear) -> Product:
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    packed = _packed(weight, bias)
    if weight.dtype == torch.float32:
        return lambda x: linear(x, weight, bias) if _rows(x) == 1 else packed(x)
    if multiplies(torch.bfloat16):
        return packed
    wide = _Wide(weight, bias)
    return lambda x: packed(x) if _rows(x) < WIDE_ROWS else wide(x)


class _Wide:
    """A bfloat16 layer's product computed in float32; the float32 weights are made when first needed."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight, self._bias = weight, bias
        self._product: Product | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self._product is None:
            self._product = _packed(self._weight.float(), None if self._bias is None else self._bias.float())
        return self._product(x.float()).to(x.dtype)


def _packed(weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
    kernels: Any = torch.ops.mkldnn
    laid_out = kernels._reorder_linear_weight(weight, BATCH)
    return lambda x: kernels._linear_pointwise(x, laid_out, bias, "none", [], "")


def _rows(x: torch.Tensor) -> int:
    return x.numel() // x.shape[-1]


def multiplies(dtype: torch.dtype) -> bool:
    """Whether this processor has instructions for products of this type; without them they are emulated."""
    if dtype == torch.float32:
        return True
    if dtype == torch.bfloat16 and platform.machine() in {"x86_64", "AMD64"}:
        return _has("cpu._is_amx_tile_supported") or _has("cpu._is_avx512_bf16_supported")
    kernel = {torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
    return _has(f"ops.mkldnn._is_mkldnn_{kernel}_supported")


def _has(question: str) -> bool:
    """What torch says of the processor, in names that not every torch has."""
    try:
        return bool(operator.attrgetter(question)(torch)())
    except (AttributeError, RuntimeError):
        return False
