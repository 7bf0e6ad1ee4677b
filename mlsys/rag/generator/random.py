"""`generator=random`: random weights in the true shape of a named model: its speed without its weights.

What it writes means nothing; how long that takes is the real model's, since greedy decoding of a fixed number
of tokens costs the same whatever the weights are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from mlsys.errors import UserError
from mlsys.rag import hub, models, tokens
from mlsys.rag.generator.engines import implementation
from mlsys.rag.generator.model import Decoding, ModelGenerator
from mlsys.rag.generator.pieces import Pieces, Words
from mlsys.rag.generator.shapes import SHAPES, config
from mlsys.rag.generator.vocabulary import build
from mlsys.record import Scalar

SMOLLM2_IDS = 49152


class Random(ModelGenerator):
    """`shape`: one of `SHAPES`. The pipeline's seed decides the weights."""

    def __init__(self, name: str, shape: str, **decoding: Unpack[Decoding]) -> None:
        if shape not in SHAPES:
            raise UserError(f"generator.shape={shape} is none of {', '.join(SHAPES)}")
        super().__init__(name, f"random {shape}", revision=None, trust_remote_code=False, **decoding)
        self.shape = shape
        self._tokenizer_note = ""

    def _locate(self) -> hub.Location:
        return hub.Location(self.model, True)

    def _open(self, location: hub.Location, dtype: Any, seed: int) -> tuple[Any, Any]:
        """The weights are drawn where they will be: what a CPU's core takes seconds for a GPU does at once."""
        import torch

        drawn_on = torch.device(self._device)
        with torch.random.fork_rng([drawn_on] if drawn_on.type == "cuda" else []), drawn_on:
            torch.manual_seed(seed)
            made = self._drawn(dtype, drawn_on)
        vocabulary = made.config.vocab_size
        if vocabulary >= SMOLLM2_IDS and models.is_cached("smollm2"):
            self._tokenizer_note = "SmolLM2's"
            return self._known_tokenizer(), made
        self._tokenizer_note = "byte-level, made in memory"
        return build(vocabulary), made

    def _drawn(self, dtype: Any, drawn_on: Any) -> Any:
        from mlsys.rag.generator import attention, weights

        if (own := weights.config(SHAPES[self.shape])) is not None:
            return weights.drawn(own, dtype, drawn_on)
        from transformers import AutoModelForCausalLM

        attention.register()
        shape = config(self.shape)
        return AutoModelForCausalLM.from_config(shape, dtype=dtype, attn_implementation=implementation(shape))

    def _known_tokenizer(self) -> Any:
        folder = models.packaged("smollm2")
        return tokens.read(folder) or self._tokenizer(hub.Location(str(folder), True))

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Answers as the numbers of their tokens: random weights spell nothing, and often nothing visible."""
        return [" ".join(map(str, row)) for row in rows]

    def pieces(self) -> Pieces:
        """The same numbers, one by one."""
        return Words(str)

    def describe(self) -> dict[str, Scalar]:
        """Says that the weights are random, and which tokenizer counts."""
        note = "random weights: the answers mean nothing, their cost is the shape's"
        return {**super().describe(), "shape": self.shape, "tokenizer": self._tokenizer_note, "note": note}
