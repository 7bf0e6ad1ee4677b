"""A network of llama's kind from a folder, or with random numbers; None for what `network` does not know."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from mlsys.rag.generator.network import Config, Network

FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
WEIGHTS, GENERATION = "model.safetensors", "generation_config.json"
FREQUENCIES = "rotary_emb.inv_freq"  # in files of old, and computed here
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def config(content: dict[str, Any]) -> Config | None:
    """What a config.json says; None where it is not just such a network."""
    if content.get("model_type") not in FAMILIES or _more(content):
        return None
    rope = content.get("rope_parameters") or {}
    queries, width = content.get("num_attention_heads"), content.get("hidden_size")
    filled = {
        "num_key_value_heads": queries,
        "head_dim": width // queries if queries and width else None,
        "rope_theta": rope.get("rope_theta", content.get("rope_theta")),
        **{name: value for name, value in content.items() if value is not None},
    }
    taken = {one.name: filled[one.name] for one in fields(Config) if filled.get(one.name) is not None}
    try:
        return Config(**taken)
    except TypeError:  # it leaves a size to its family's default
        return None


def _more(content: dict[str, Any]) -> bool:
    """Whether it has what these networks have not."""
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    turned = rope.get("rope_type", rope.get("type", "default")) != "default"
    windowed = content.get("use_sliding_window") or (
        content["model_type"] == "mistral" and content.get("sliding_window")
    )
    windowed = windowed or set(content.get("layer_types") or ()) - {"full_attention"}
    biased = content.get("attention_bias") or content.get("mlp_bias")
    other = content.get("quantization_config") or content.get("auto_map")
    return bool(turned or windowed or biased or other or content.get("hidden_act", "silu") != "silu")


def read(folder: Path, dtype: torch.dtype) -> Network | None:
    """The network in a folder, its weights as `dtype`; None where it is none of these.

    Raises what the parsers of its files raise.
    """
    content = json.loads((folder / "config.json").read_text())
    if not (folder / WEIGHTS).exists() or (found := config(content)) is None:
        return None
    from safetensors.torch import load_file

    kept = load_file(folder / WEIGHTS)
    weights = {name: tensor.to(dtype) for name, tensor in kept.items() if not name.endswith(FREQUENCIES)}
    if found.tie_word_embeddings:
        weights[HEAD] = weights[EMBEDDING]
    made = Network(found, dtype=dtype)
    made.load_state_dict(weights, assign=True)
    made.tie()
    if (folder / GENERATION).exists():
        made.generation_config = SimpleNamespace(**json.loads((folder / GENERATION).read_text()))
    return made.requires_grad_(False)


def drawn(found: Config, dtype: torch.dtype, device: torch.device) -> Network:
    """A network of normal random weights, drawn on its device."""
    made = Network(found, dtype=dtype, device=device)
    made.tie()
    for name, weights in made.named_parameters():
        if name.endswith("norm.weight"):
            weights.data.fill_(1)
        elif name.endswith("bias"):
            weights.data.zero_()
        else:
            weights.data.normal_(0.0, found.initializer_range)
    return made.requires_grad_(False)
