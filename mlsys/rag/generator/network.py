"""Networks of llama's kind in plain torch: a service need not import a library of all models for one of them.

Named as transformers names their parts, so that weights go by their names and whoever drives a network drives either.
Llama: Touvron et al. (2023); rotations: Su et al. (2021); RMS norms: Zhang and Sennrich (2019); gates: Shazeer (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import rms_norm, silu

from mlsys.rag.generator.attention import IMPLEMENTATION, Plan
from mlsys.rag.generator.linear import Linear


@dataclass(frozen=True)
class Config:
    """A network's sizes, under the names of a model's config.json."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    max_position_embeddings: int
    rope_theta: float
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02
    hidden_act: str = "silu"
    eos_token_id: Any = None
    _attn_implementation: str = IMPLEMENTATION


class Logits(NamedTuple):
    """(1, kept, vocabulary)."""

    logits: torch.Tensor


class Network(nn.Module):
    """Token ids to logits; attention is the plan's. `mlsys.rag.generator.weights` gives it its numbers.

    `kind`: dtype and device of the weights.
    """

    def __init__(self, config: Config, **kind: Any) -> None:
        super().__init__()
        self.config = config
        self.generation_config: Any = config  # which tokens end an answer
        self.model = Layers(config, **kind)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False, **kind)

    def tie(self) -> None:
        """Make the head's weights the embedding's, where they are one."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.model.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.embed_tokens.weight.device

    def get_output_embeddings(self) -> nn.Linear:
        """The head."""
        return self.lm_head

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        plan: Plan,
        logits_to_keep: int | torch.Tensor = 0,
        use_cache: bool = False,
    ) -> Logits:
        """Ids and positions (1, tokens). `logits_to_keep`: of the last so many, of all (0), or of those places."""
        hidden = self.model(input_ids, position_ids, plan)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        return Logits(self.lm_head(hidden[:, kept]))


class Layers(nn.Module):
    """Everything but the head."""

    def __init__(self, config: Config, **kind: Any) -> None:
        super().__init__()
        sizes = config.vocab_size, config.hidden_size
        self.embed_tokens = nn.Embedding(*sizes, _weight=torch.empty(sizes, **kind))
        self.layers = nn.ModuleList(Layer(config, place, **kind) for place in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps, **kind)
        self.rotary_emb = Rotary(config, kind.get("device"))

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, plan: Plan) -> torch.Tensor:
        """(1, tokens, width)."""
        hidden = self.embed_tokens(ids)
        turn = self.rotary_emb(hidden, positions)
        for layer in self.layers:
            hidden = layer(hidden, turn, plan)
        normed: torch.Tensor = self.norm(hidden)
        return normed


class RMSNorm(nn.Module):
    """Over the last dimension."""

    def __init__(self, width: int, epsilon: float, **kind: Any) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(width, **kind)), epsilon

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return rms_norm(hidden, self.weight.shape, self.weight, self.variance_epsilon)


class Rotary(nn.Module):
    """Cosines and sines of positions."""

    rope_type = "default"
    inv_freq: torch.Tensor

    def __init__(self, config: Config, device: torch.device | None) -> None:
        super().__init__()
        steps = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device) / config.head_dim
        self.register_buffer("inv_freq", 1.0 / config.rope_theta**steps, persistent=False)

    def forward(self, like: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, tokens, d) each, in the dtype of `like`."""
        angles = positions[..., None].float() * self.inv_freq
        angles = torch.cat((angles, angles), -1)
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


class Layer(nn.Module):
    """Attention and a gated step, each beside what goes past it."""

    def __init__(self, config: Config, place: int, **kind: Any) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(config, place, **kind), Gated(config, **kind)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps, **kind)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps, **kind)

    def forward(
        self, hidden: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor], plan: Plan
    ) -> torch.Tensor:
        """The same shape."""
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), turn, plan)
        found: torch.Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return found


class Attention(nn.Module):
    """Queries, keys and values, turned by their positions; qwen2 has biases for them, qwen3 norms of heads."""

    def __init__(self, config: Config, place: int, **kind: Any) -> None:
        super().__init__()
        self.layer_idx, self.head_dim, self.scaling = place, config.head_dim, config.head_dim**-0.5
        width, biased = config.hidden_size, config.model_type == "qwen2"
        queries, kept = (
            count * config.head_dim for count in (config.num_attention_heads, config.num_key_value_heads)
        )
        self.q_proj = Linear(width, queries, bias=biased, **kind)
        self.k_proj = Linear(width, kept, bias=biased, **kind)
        self.v_proj = Linear(width, kept, bias=biased, **kind)
        self.o_proj = Linear(queries, width, bias=False, **kind)
        self._normed = config.model_type == "qwen3"
        if self._normed:
            self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps, **kind)
            self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps, **kind)

    def forward(
        self, hidden: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor], plan: Plan
    ) -> torch.Tensor:
        """(1, tokens, width)."""
        heads = (*hidden.shape[:-1], -1, self.head_dim)
        q, k, v = (part(hidden).view(heads) for part in (self.q_proj, self.k_proj, self.v_proj))
        if self._normed:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = (turned(part.transpose(1, 2), *turn) for part in (q, k))
        found = plan.attend(self.layer_idx, q, k, v.transpose(1, 2), self.scaling)
        out: torch.Tensor = self.o_proj(found.reshape(*hidden.shape[:-1], -1))
        return out


def turned(heads: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Heads (1, H, tokens, d), turned by (1, tokens, d)."""
    first, second = heads.chunk(2, -1)
    return heads * cosines[:, None] + torch.cat((-second, first), -1) * sines[:, None]


class Gated(nn.Module):
    """Up, gated, and down again."""

    def __init__(self, config: Config, **kind: Any) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=False, **kind)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=False, **kind)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=False, **kind)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        out: torch.Tensor = self.down_proj(silu(self.gate_proj(hidden)) * self.up_proj(hidden))
        return out
