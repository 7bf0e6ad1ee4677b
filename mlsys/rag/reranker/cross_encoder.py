"""`reranker=cross_encoder`: a model that reads question and passage as one text, by hub id or folder.

Nogueira and Cho, "Passage Re-ranking with BERT" (2019), in the form of sentence-transformers. Weights are read from
safetensors only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import UserError
from mlsys.rag import hub, models
from mlsys.record import Scalar


class CrossEncoderReranker:
    """`candidates`: passages of a question that are read; `max_tokens`: of a pair (None: as the model says)."""

    def __init__(
        self,
        name: str,
        model: str,
        candidates: int,
        batch_size: int,
        max_tokens: int | None,
        revision: str | None,
        trust_remote_code: bool,
    ) -> None:
        if not model:
            raise UserError("reranker.model is empty: give a hub id or a folder")
        for knob, value in (
            ("candidates", candidates),
            ("batch_size", batch_size),
            ("max_tokens", max_tokens),
        ):
            if value is not None and value < 1:
                raise UserError(f"reranker.{knob}={value} must be at least 1")
        self.name, self.model, self.candidates, self.batch_size = name, model, candidates, batch_size
        self.max_tokens, self.revision, self.trust_remote_code = max_tokens, revision, trust_remote_code
        self._loaded: Any = None

    def load(self, device: str) -> None:
        """Fetch and load. Raises UserError if the model cannot be had, or gives more than one number a pair."""
        location = hub.locate("reranker.model", self.model)
        from sentence_transformers import CrossEncoder

        try:
            with models.quiet():
                self._loaded = CrossEncoder(
                    location.path,
                    device=device,
                    revision=self.revision,
                    trust_remote_code=self.trust_remote_code,
                    local_files_only=location.local_only,
                    model_kwargs={"use_safetensors": True},
                    **({} if self.max_tokens is None else {"max_length": self.max_tokens}),
                )
        except Exception as error:  # of a damaged file the libraries' parsers raise what they like
            raise hub.failure("reranker.model", self.model, location, error) from error
        if (labels := int(self._loaded.num_labels)) != 1:
            raise UserError(
                f"reranker.model={self.model} gives {labels} numbers for a pair, a reranker gives one"
            )

    def scores(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """(P,) what the model gives for each pair, larger fits better."""
        found = self._loaded.predict(list(pairs), batch_size=self.batch_size, show_progress_bar=False)
        return np.asarray(found, np.float32)

    def describe(self) -> dict[str, Scalar]:
        """Model, size, and how much it reads."""
        longest = getattr(self._loaded, "max_seq_length", None)  # its name since sentence-transformers 6
        return {
            "model": self.model,
            "candidates": self.candidates,
            "parameters": sum(weights.numel() for weights in self._loaded.parameters()),
            "max_tokens": int(longest or self._loaded.max_length),
        }
