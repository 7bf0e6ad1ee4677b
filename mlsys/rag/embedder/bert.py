"""A sentence-transformers folder with a BERT in it, in plain torch: importing the library takes longer than embedding.

Devlin et al., "BERT" (2019); mean and first-token pooling: Reimers and Gurevych, "Sentence-BERT" (2019).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import gelu, layer_norm, linear, normalize, scaled_dot_product_attention

from mlsys.rag import tokens

WEIGHTS = "model.safetensors"
KINDS = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
POOLING = "pooling_mode"
WORDS, NONE = "embeddings.word_embeddings.weight", torch.empty(0, dtype=torch.bool)
COMPUTED = "embeddings.position_ids"  # in files of old
TOKENIZERS = frozenset({"BertTokenizer", "BertTokenizerFast"})
Tensors = dict[str, torch.Tensor]


FILES = {
    "modules": "modules.json",
    "model": "config.json",
    "limits": "sentence_bert_config.json",
    "pooling": "1_Pooling/config.json",
}
PROMPTS = "config_sentence_transformers.json"


def read(folder: Path, device: str) -> Bert | None:
    """The encoder in a folder; None where it is more than a BERT with a known pooling. Raises what parsers raise."""
    found = {name: _json(folder / file) for name, file in FILES.items()}
    if not all(found.values()) or not (folder / WEIGHTS).exists() or not _is_plain(found):
        return None
    chatting, pooled = tokens.read(folder, TOKENIZERS), _pooling(found["pooling"])
    if chatting is None or pooled is None:
        return None
    from safetensors.torch import load_file

    weights = {
        name: each.to(device) for name, each in load_file(folder / WEIGHTS).items() if name != COMPUTED
    }
    if weights.get(WORDS, NONE).dtype != torch.float32:
        return None
    most = min(found["limits"]["max_seq_length"], found["model"]["max_position_embeddings"])
    made = Bert(Network(weights, found["model"]), chatting, most, pooled)
    made.normalized = _kinds(found) == KINDS[1]
    made.prompts = (_json(folder / PROMPTS) or {}).get("prompts") or {}
    return made


def _kinds(found: dict[str, Any]) -> list[str]:
    return [module["type"].rpartition(".")[2] for module in found["modules"]]


def _is_plain(found: dict[str, Any]) -> bool:
    model, limits = found["model"], found["limits"]
    usual = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "auto_map": None,
    }
    plain = all(model.get(name, value) == value for name, value in usual.items()) and "model_type" in model
    return bool(
        plain and _kinds(found) in KINDS and limits.get("max_seq_length") and not limits.get("do_lower_case")
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _pooling(content: dict[str, Any]) -> str | None:
    """`mean`, `cls`, or None for another."""
    modes = {name.removeprefix(POOLING): on for name, on in content.items() if name.startswith(POOLING)}
    chosen = " ".join(name for name, on in modes.items() if on)
    named = {"_mean_tokens": "mean", "_cls_token": "cls"}.get(chosen)
    return named if "" not in modes else modes[""] if modes[""] in ("mean", "cls") else None


class Network:
    """Token ids to the last layer's states."""

    def __init__(self, weights: Tensors, config: dict[str, Any]) -> None:
        self.weights, self._layers = weights, config["num_hidden_layers"]
        self._heads, self._epsilon = config["num_attention_heads"], config["layer_norm_eps"]
        self.device = next(iter(weights.values())).device

    def __call__(self, ids: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        """Ids (B, T) to (B, T, width); `seen` (B, T) is false where there is padding."""
        w, mask = self.weights, None if seen is None else seen[:, None, None]
        hidden = w[WORDS][ids]
        hidden = hidden + w["embeddings.token_type_embeddings.weight"][0]
        hidden = hidden + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        hidden = self._norm(hidden, "embeddings")
        for layer in range(self._layers):
            place = f"encoder.layer.{layer}"
            q, k, v = (
                self._split(hidden, f"{place}.attention.self.{name}") for name in ("query", "key", "value")
            )
            found = scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
            hidden = self._after(found, hidden, f"{place}.attention.output")
            inner = gelu(self._linear(hidden, f"{place}.intermediate.dense"))
            hidden = self._after(inner, hidden, f"{place}.output")
        return hidden

    def _split(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        found = self._linear(hidden, name)
        return found.view(*found.shape[:-1], self._heads, -1).transpose(1, 2)

    def _linear(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        return linear(hidden, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _after(self, found: torch.Tensor, before: torch.Tensor, name: str) -> torch.Tensor:
        return self._norm(self._linear(found, f"{name}.dense") + before, name)

    def _norm(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = (self.weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return layer_norm(hidden, weight.shape, weight, bias, self._epsilon)


class Bert:
    """An `Encoder`."""

    commit: str | None = None
    normalized = False  # whatever is asked

    def __init__(self, network: Network, chatting: tokens.Chatting, most: int, pooled: str) -> None:
        self._network, self._tokenizer, self._pad = (
            network,
            chatting.backend_tokenizer,
            chatting.pad_token_id or 0,
        )
        self._cutting = type(self._tokenizer).from_str(self._tokenizer.to_str())
        self._cutting.enable_truncation(most)
        self.max_tokens, self._pooled, self.prompts = most, pooled, dict[str, str]()
        self.parameters = sum(each.numel() for each in network.weights.values())
        self.dim = network.weights[WORDS].shape[1]

    @torch.inference_mode()
    def encode(self, texts: list[str], batch: int, normalize: bool) -> NDArray[np.float32]:
        """As the protocol says; texts of about the same length go together."""
        rows = [one.ids or [self._pad] for one in self._cutting.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
        found = torch.empty((len(rows), self.dim))
        for start in range(0, len(rows), batch):
            places = order[start : start + batch]
            found[places] = self._vectors([rows[place] for place in places], normalize).cpu()
        vectors: NDArray[np.float32] = found.numpy()
        return vectors

    def _vectors(self, rows: list[list[int]], normalized: bool) -> torch.Tensor:
        longest = max(map(len, rows))
        ids = torch.tensor(
            [row + [self._pad] * (longest - len(row)) for row in rows], device=self._network.device
        )
        lengths = torch.tensor([[len(row)] for row in rows], device=self._network.device)
        seen = torch.arange(longest, device=self._network.device)[None] < lengths
        hidden = self._network(ids, None if longest == min(map(len, rows)) else seen)
        found = (hidden * seen[..., None]).sum(1) / lengths if self._pooled == "mean" else hidden[:, 0]
        return normalize(found, dim=1) if normalized or self.normalized else found

    def spans(self, text: str) -> list[tuple[int, int]]:
        """As the protocol says."""
        spans: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return spans
