"""Models of this project in folders, in the files that others write of theirs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from mlsys.rag.generator.network import Network
from mlsys.rag.generator.vocabulary import build
from mlsys.rag.generator.weights import HEAD


def vocabulary(folder: Path, size: int) -> None:
    """A tokenizer made in memory."""
    made = build(size)
    made.backend_tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": made.chat_template, **made.special}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


def network(made: Network, folder: Path) -> None:
    """Sizes and weights."""
    content: dict[str, Any] = asdict(made.config)
    content["rope_parameters"] = {"rope_type": "default", "rope_theta": content.pop("rope_theta")}
    (folder / "config.json").write_text(json.dumps(content))
    tied = made.config.tie_word_embeddings
    kept = {
        name: each.contiguous() for name, each in made.state_dict().items() if not (tied and name == HEAD)
    }
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
