"""`generator=smollm2`, the default: SmolLM2-135M-Instruct (Apache-2.0) from the package index."""

from __future__ import annotations

from typing import Unpack

from mlsys.errors import UserError
from mlsys.rag.generator.model import Decoding, ModelGenerator
from mlsys.record import Scalar

ENGINES = ("auto", "own", "openvino")


class SmolLM2(ModelGenerator):
    """The packaged model; `model` may name another, which then is what runs and what the record says.

    `engine`: who computes. `mlsys.rag.generator.choice` decides before this is made, and `chosen` is why it was.
    """

    def __init__(
        self,
        name: str,
        model: str,
        revision: str | None,
        trust_remote_code: bool,
        engine: str,
        **decoding: Unpack[Decoding],
    ) -> None:
        if engine not in ENGINES:
            raise UserError(f"generator.engine={engine} is none of {', '.join(ENGINES)}")
        super().__init__(name, model, revision, trust_remote_code, **decoding)
        self.chosen = ""

    def describe(self) -> dict[str, Scalar]:
        """Also why this project's decoder was chosen, where there was a choice."""
        return {**super().describe(), **({"chosen": self.chosen} if self.chosen else {})}
