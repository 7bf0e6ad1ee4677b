"""`generator=smollm2`, the default: SmolLM2-135M-Instruct (Apache-2.0) from the package index."""

from __future__ import annotations

from mlsys.rag.generator.model import ModelGenerator


class SmolLM2(ModelGenerator):
    """The packaged model; `model` may name another, which then is what runs and what the record says."""
