"""The real openvino-genai on the packaged model: where it is installed, it writes what our decoder writes."""

from __future__ import annotations

import pytest
import torch
from sections import made

from mlsys.rag.generator import Wanted

pytestmark = pytest.mark.slow
ASKED = [
    ("Answer briefly.", "What is the capital of France?"),
    ("Answer briefly.", "How many legs does a cat have, and what does it eat?"),
    ("Answer with one word.", "Is the sea deep?"),
]


def test_its_answers_are_those_of_our_decoder_token_for_token() -> None:
    """In one thread each: two on a busy machine wait for each other, and that takes minutes."""
    pytest.importorskip("openvino_genai")
    torch.set_num_threads(1)
    answers = []
    for option in ("smollm2", "openvino"):
        generator = made(f"generator/{option}", max_new_tokens=8, fixed_length=False)
        generator.load("cpu", 0)
        found = generator.generate(generator.prompts(ASKED), [Wanted()] * len(ASKED))
        answers.append([(one.text, one.ids) for one in found])
    assert answers[0] == answers[1]
