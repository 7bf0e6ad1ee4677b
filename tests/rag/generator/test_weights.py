"""Networks of llama's kind in plain torch: transformers' own, number for number, and nothing of transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import networks
import pytest
import schedules
import torch

from mlsys.defaults import ROOT
from mlsys.rag.generator import fused_model, kv_cache, weights
from mlsys.rag.generator.attention import IMPLEMENTATION, Prefill, Slots
from mlsys.rag.generator.decoding import Decoder, forward
from mlsys.rag.generator.graphs import GraphDecoder
from mlsys.rag.generator.kv_memory import Sizes
from mlsys.rag.generator.plain import PlainDecoder
from mlsys.rag.generator.shapes import SHAPES
from mlsys.rag.generator.slot_stepper import SlotStepper
from mlsys.rag.generator.static_stepper import StaticStepper
from mlsys.roofline import work

SIZES = SHAPES["tiny"]
ALONE = """
import sys
from sections import made
for knobs in ({"compile": False}, {"dtype": "int8"}):
    one = made("generator/random", shape="tiny", max_new_tokens=3, **knobs)
    one.load("cpu", 0)
    one.generate(one.prompts([("Say.", "What?")]))
heavy = ("transformers", "sentence_transformers", "scipy", "pandas", "torch._dynamo")
print([name for name in heavy if name in sys.modules])
"""


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", sorted(weights.FAMILIES))
def test_what_is_read_gives_the_logits_of_transformers(family: str, tied: bool, tmp_path: Path) -> None:
    theirs: Any = networks.network(family)
    theirs.config.tie_word_embeddings = tied
    if tied:
        theirs.lm_head.weight = theirs.model.embed_tokens.weight
    theirs.save_pretrained(tmp_path)
    ours = weights.read(tmp_path, torch.float32)
    assert ours is not None
    assert ours.config._attn_implementation == IMPLEMENTATION
    ids, positions = torch.tensor(networks.prompts(20)[0]), torch.arange(41)
    found = []
    for model in (theirs, ours):
        slots = Slots()
        slots.resize(1, 41)
        with torch.inference_mode():
            found.append(forward(model, ids, positions, Prefill(slots, [41]), 0))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)
    assert sum(one.numel() for one in ours.parameters()) == sum(one.numel() for one in theirs.parameters())


@pytest.mark.parametrize("family", sorted(weights.FAMILIES))
def test_the_fused_kernels_read_it_as_they_read_transformers(family: str, tmp_path: Path) -> None:
    theirs: Any = networks.network(family)
    theirs.save_pretrained(tmp_path)
    ours = weights.read(tmp_path, torch.float32)
    assert ours is not None
    assert fused_model.why_plain(ours) == fused_model.why_plain(theirs)
    assert kv_cache.heads(ours) == kv_cache.heads(theirs)
    assert work.of(ours, "float32") == work.of(theirs, "float32")
    torch.testing.assert_close(asdict(fused_model.parts(ours, 40)), asdict(fused_model.parts(theirs, 40)))


def test_which_tokens_end_an_answer_is_read(tmp_path: Path) -> None:
    networks.network("llama").save_pretrained(tmp_path)  # type: ignore[operator]
    (tmp_path / weights.GENERATION).write_text(json.dumps({"eos_token_id": [2, 7]}))
    ours = weights.read(tmp_path, torch.bfloat16)
    assert ours is not None
    assert ours.generation_config.eos_token_id == [2, 7]
    assert ours.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "other",
    [
        {"model_type": "gpt2"},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"quantization_config": {"bits": 4}},
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"model_type": "mistral", "sliding_window": 64},
        {"rope_parameters": None},
    ],
    ids=str,
)
def test_what_is_not_just_such_a_network_is_left_to_transformers(other: dict[str, Any]) -> None:
    assert weights.config(SIZES) is not None
    assert weights.config(SIZES | other) is None


def test_a_model_is_loaded_and_answers_without_the_library_of_all_models() -> None:
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "support")))
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.gpu
@pytest.mark.parametrize("family", sorted(weights.FAMILIES))
def test_on_a_gpu_it_answers_as_transformers_does(family: str, tmp_path: Path) -> None:
    networks.network(family).save_pretrained(tmp_path)  # type: ignore[operator]
    theirs: Any = networks.network(family, "sdpa").to("cuda")
    prompts, new = networks.prompts(5, 40, 1, 17, 17), networks.NEW
    expected = networks.written(PlainDecoder(theirs, frozenset(), 0), prompts, new, True)
    ours: Any = weights.read(tmp_path, torch.float32)
    ours.to("cuda")
    assert networks.written(Decoder(ours, frozenset()), prompts, new, True) == expected
    assert networks.written(GraphDecoder(ours, frozenset(), 200, new), prompts, new, True) == expected
    sizes = Sizes(slots=3, slot_tokens=96, blocks=6, block_tokens=8, token_bytes=1)
    for kind in (SlotStepper, StaticStepper):
        stepper = kind(ours, sizes, kv_cache.heads(ours))
        assert schedules.answers(stepper, prompts, [new] * 5) == expected
