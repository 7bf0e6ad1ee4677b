"""What a decoder-only transformer must move and compute, counted from its layers.

Each step reads all weights once. A written token reads the keys and values of the tokens before it; each token, read or
written, stores its own. Arithmetic is two operations for each weight of a product and token; of attention, two products
of each query with each token that it sees (Kaplan et al., 2020, appendix). Looking an embedding up reads one row, which
is not counted; the head is computed for tokens that are written alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mlsys.record import Scalar


@dataclass(frozen=True)
class Work:
    """`weight_bytes`: that a step reads. `body`, `head`: weights of products, for each token and each written one.

    `kv_bytes`: keys and values of a token. `attention`: operations of a token for each token that it sees.
    """

    weight_bytes: int
    body: int
    head: int
    kv_bytes: int
    attention: int

    def bytes(self, steps: int, read: int, written: int, held: int) -> int:
        """Of `steps` that read so many tokens of prompts and wrote so many, which saw `held` tokens in all."""
        return steps * self.weight_bytes + (held + read + written) * self.kv_bytes

    def operations(self, read: int, written: int, seen: int) -> int:
        """Of the same; `seen`: tokens seen by all that were read or written, in all."""
        return 2 * (self.body * (read + written) + self.head * written) + self.attention * seen

    def describe(self) -> dict[str, Scalar]:
        """For the record."""
        return {f"work.{name}": value for name, value in asdict(self).items()}


def of(network: Any, dtype: str) -> Work:
    """The work of a model of transformers, as it is before its weights are made smaller.

    `dtype`: float32, bfloat16, float16, or int8, in which products' weights have one byte.
    """
    import torch

    linear, other, seen = 0, 0, set[int]()
    size = network.dtype.itemsize
    for module in network.modules():
        if isinstance(module, torch.nn.Embedding):
            continue
        for name, weights in module.named_parameters(recurse=False):
            if isinstance(module, torch.nn.Linear) and name == "weight":
                linear += weights.numel()
            elif id(weights) not in seen:
                other += weights.numel()
            seen.add(id(weights))
    head = network.get_output_embeddings().weight.numel()
    config = network.config
    heads = config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = getattr(config, "num_key_value_heads", None) or heads
    layers = config.num_hidden_layers
    return Work(
        weight_bytes=linear * (1 if dtype == "int8" else size) + other * size,
        body=linear - head,
        head=head,
        kv_bytes=2 * layers * kept * dim * size,
        attention=4 * layers * heads * dim,
    )
