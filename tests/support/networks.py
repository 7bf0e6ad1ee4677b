"""Tiny causal language models with weights large enough that the best token leads clearly."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mlsys.rag.generator import attention
from mlsys.rag.generator.decoding import Engine

VOCABULARY = 512
NEW = 12
PREFIX = list(range(10, 31))
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2},
    "qwen2": {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 1},
    "opt": {"hidden_size": 64, "ffn_dim": 96, "num_attention_heads": 4, "word_embed_proj_dim": 64},
}
# Families that only some tests ask for.
MORE_SHAPES: dict[str, dict[str, Any]] = {
    "mistral": {**SHAPES["llama"], "head_dim": 16, "sliding_window": None},
    "qwen3": {**SHAPES["llama"], "head_dim": 32},
}


def network(family: str, implementation: str = attention.IMPLEMENTATION) -> torch.nn.Module:
    attention.register()
    sizes = {
        "num_hidden_layers": 2,
        "vocab_size": VOCABULARY,
        "pad_token_id": 0,
        "eos_token_id": 2,
        "bos_token_id": 1,
    }
    config = AutoConfig.for_model(
        family, **sizes, **{**SHAPES, **MORE_SHAPES}[family], max_position_embeddings=256
    )
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(config, attn_implementation=implementation).eval()
    with torch.no_grad():  # weights large enough that the best token leads clearly
        for name, weights in made.named_parameters():
            if weights.ndim == 2:
                weights.normal_(0, 0.3)
            elif "norm" not in name:
                weights.normal_(0, 0.1)
    assert isinstance(made, torch.nn.Module)
    return made


def prompts(*lengths: int, prefix: list[int] = PREFIX) -> list[list[int]]:
    random = torch.Generator().manual_seed(1)
    return [[*prefix, *torch.randint(3, VOCABULARY, (n,), generator=random).tolist()] for n in lengths]


def written(engine: Engine, batch: Sequence[list[int]], new: int, fixed: bool) -> list[list[int]]:
    """Greedy answers, all to the same limit."""
    return engine.generate(batch, [new] * len(batch), [fixed] * len(batch))
