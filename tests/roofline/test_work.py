"""What a decoder moves and computes, against counts made by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlsys.rag.generator.shapes import config
from mlsys.roofline import work
from mlsys.roofline.work import Work

# tiny: 2 layers of q 64x64, k and v 64x32, o 64x64, gate, up and down 64x128; head 64x1024; 5 norms of 64
BODY, HEAD, NORMS = 2 * (4096 + 2 * 2048 + 4096 + 3 * 8192), 65536, 320


@pytest.mark.parametrize(
    ("dtype", "torch_dtype", "weights", "kv"),
    [
        ("float32", torch.float32, 4 * (BODY + HEAD + NORMS), 512),
        ("bfloat16", torch.bfloat16, 2 * (BODY + HEAD + NORMS), 256),
        ("int8", torch.float32, BODY + HEAD + 4 * NORMS, 512),
    ],
)
def test_a_tiny_llama(dtype: str, torch_dtype: Any, weights: int, kv: int) -> None:
    network = AutoModelForCausalLM.from_config(config("tiny"), dtype=torch_dtype)
    assert work.of(network, dtype) == Work(weights, BODY, HEAD, kv, attention=4 * 2 * 4 * 16)


def test_bytes_and_operations_of_a_step() -> None:
    made = Work(weight_bytes=1000, body=100, head=50, kv_bytes=8, attention=3)
    assert made.bytes(steps=2, read=0, written=4, held=40) == 2000 + 44 * 8
    assert made.operations(read=5, written=2, seen=30) == 2 * (700 + 100) + 90


def test_the_default_shape_moves_what_is_published() -> None:
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config("smollm2-135m"), dtype=torch.bfloat16)
    found = work.of(network, "bfloat16")
    assert (
        found.weight_bytes == 2 * 134_515_008
    )  # its parameters: the head is the embedding, and is read as a whole
    assert found.kv_bytes == 2 * 30 * 3 * 64 * 2
    assert found.attention == 4 * 30 * 9 * 64
