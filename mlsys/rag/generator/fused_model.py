"""What the fused kernels need of a model of llama's kind, and which models are not of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from mlsys.distance.language import triton
from mlsys.rag.generator.fused_tiles import most_rows

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
TURNS = ("default", "linear", "llama3", "yarn")  # rotations that do not change with a sequence's length
LEAST = 16  # what every size must be a multiple of


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights (out, in): `heads` of queries, keys and values; `gate` of the gate, then the way up."""

    norm: torch.Tensor
    heads: torch.Tensor
    bias: torch.Tensor | None
    head_norms: torch.Tensor | None  # (2, d): of queries and keys
    out: torch.Tensor
    inner_norm: torch.Tensor
    gate: torch.Tensor
    down: torch.Tensor

    @property
    def multiplied(self) -> int:
        """Weights that each row is multiplied with."""
        return sum(weight.numel() for weight in (self.heads, self.out, self.gate, self.down))


@dataclass(frozen=True, slots=True)
class Parts:
    """A model as the kernels read it. `cosines`, `sines`: (positions, d / 2), as the model itself computes them."""

    layers: list[Layer]
    embedding: torch.Tensor
    norm: torch.Tensor
    head: torch.Tensor
    cosines: torch.Tensor
    sines: torch.Tensor
    queries: int
    keys: int
    dim: int
    scale: float
    epsilon: float
    most_rows: int  # of a step: with more torch's kernels are faster


def why_plain(model: Any) -> str | None:
    """What of the model the fused kernels do not know; None where they know it all."""
    config = model.config
    if triton is None:
        return "Triton is not installed"
    if config.model_type not in FAMILIES:
        return f"{config.model_type} models"
    if model.dtype not in (torch.bfloat16, torch.float32):
        return str(model.dtype).removeprefix("torch.")
    turn = model.model.rotary_emb.rope_type
    if turn not in TURNS:
        return f"rope_type {turn}"
    if config.hidden_act != "silu":
        return f"hidden_act {config.hidden_act}"
    first = model.model.layers[0]
    if any(
        part.bias is not None for part in (first.self_attn.o_proj, first.mlp.gate_proj, first.mlp.down_proj)
    ):
        return "biases outside of queries, keys and values"
    dim = first.self_attn.head_dim
    if dim & (dim - 1) or dim < LEAST:
        return f"heads of {dim} numbers"
    odd = [size for size in (config.hidden_size, config.intermediate_size) if size % LEAST]
    return f"a width of {odd[0]}" if odd else None


def parts_for(model: Any, positions: int) -> tuple[Parts | None, str]:
    """The parts where the kernels are to be used, and what the record says of it."""
    reason = "not on a GPU" if model.device.type != "cuda" else why_plain(model)
    if reason is not None:
        return None, f"torch: {reason}"
    found = parts(model, positions)
    return found, f"fused, up to {found.most_rows} rows a step"


@torch.inference_mode(False)
@torch.no_grad()
def parts(model: Any, positions: int) -> Parts:
    """The model's weights for the kernels, for sequences of up to `positions` tokens.

    What is multiplied together is laid out together: the model's own weights become views of that.
    """
    config, inner = model.config, model.model
    attention = inner.layers[0].self_attn
    each = torch.arange(positions, device=model.device)[None]
    cosines, sines = inner.rotary_emb(inner.embed_tokens.weight[:1, None], each)
    half = attention.head_dim // 2
    layers = [_layer(layer) for layer in inner.layers]
    return Parts(
        layers,
        inner.embed_tokens.weight,
        inner.norm.weight,
        model.lm_head.weight,
        cosines[0, :, :half].contiguous(),
        sines[0, :, :half].contiguous(),
        config.num_attention_heads,
        config.num_key_value_heads,
        attention.head_dim,
        attention.scaling,
        config.rms_norm_eps,
        most_rows(layers[0].multiplied),
    )


def _layer(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    heads = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [part.bias for part in heads if part.bias is not None]
    norms = [getattr(attention, name).weight for name in ("q_norm", "k_norm") if hasattr(attention, name)]
    return Layer(
        layer.input_layernorm.weight,
        _together(*heads),
        torch.cat(biases) if biases else None,
        torch.stack(norms) if norms else None,
        attention.o_proj.weight,
        layer.post_attention_layernorm.weight,
        _together(mlp.gate_proj, mlp.up_proj),
        mlp.down_proj.weight,
    )


def _together(*modules: Any) -> torch.Tensor:
    """The modules' weights as one, of which their own become views; they stay so when it is done again."""
    weights = [module.weight for module in modules]
    joined = _neighbours(weights)
    if joined is None:
        joined = torch.cat(weights)
        for module, own in zip(modules, joined.split([len(each) for each in weights]), strict=True):
            module.weight.data = own
    return joined


def _neighbours(weights: list[torch.Tensor]) -> torch.Tensor | None:
    """All of them as one tensor, where they already lie one after the other: what is recorded points there."""
    first, place = weights[0], weights[0].data_ptr()
    for each in weights:
        if (
            each.data_ptr() != place
            or each.untyped_storage().data_ptr() != first.untyped_storage().data_ptr()
        ):
            return None
        place += each.nbytes
    rows = sum(len(each) for each in weights)
    return first.detach().as_strided((rows, first.shape[1]), (first.shape[1], 1))
