"""The knobs of the RAG groups and their types: keyword arguments of the classes that the YAML files name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class AnimalsOptions:
    """`corpus=animals`."""

    _target_: str = "mlsys.rag.corpus.animals.Animals"
    name: str = "animals"


@dataclass
class HashingOptions:
    """`embedder=hashing`."""

    _target_: str = "mlsys.rag.embedder.hashing.Hashing"
    name: str = "hashing"
    dim: int = 1024


@dataclass
class ExactOptions:
    """`retriever=exact`."""

    _target_: str = "mlsys.rag.retriever.exact.Exact"
    name: str = "exact"
    metric: str = "cosine"


@dataclass
class SimulatedOptions:
    """`generator=simulated`."""

    _target_: str = "mlsys.rag.generator.simulated.Simulated"
    name: str = "simulated"
    base_ms: float = 5.0
    per_request_ms: float = 1.0
    per_token_ms: float = 0.5
    max_new_tokens: int = 32
    max_prompt_tokens: int = 2048


SCHEMAS = {
    "corpus/animals": AnimalsOptions,
    "embedder/hashing": HashingOptions,
    "retriever/exact": ExactOptions,
    "generator/simulated": SimulatedOptions,
}
