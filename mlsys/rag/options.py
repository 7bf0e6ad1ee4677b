"""The knobs of the RAG groups and their types: keyword arguments of the classes that the YAML files name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class AnimalsOptions:
    """`corpus=animals`."""

    _target_: str = "mlsys.rag.corpus.animals.Animals"
    name: str = "animals"


@dataclass
class PydocsOptions:
    """`corpus=pydocs`."""

    _target_: str = "mlsys.rag.corpus.pydocs.Pydocs"
    name: str = "pydocs"
    passages: int = 300
    max_words: int = 50


@dataclass
class FilesOptions:
    """`corpus=files`."""

    _target_: str = "mlsys.rag.corpus.files.Files"
    name: str = "files"
    path: str = ""
    chunk_tokens: int = 160
    overlap_tokens: int = 32
    text_field: str = "text"


@dataclass
class ModelEmbedderOptions:
    """`embedder=model`."""

    _target_: str = "mlsys.rag.embedder.model.ModelEmbedder"
    name: str = "model"
    model: str = ""
    query_prefix: str | None = None
    passage_prefix: str | None = None
    normalize: bool = True
    batch_size: int = 32
    revision: str | None = None
    trust_remote_code: bool = False


@dataclass
class MiniLMOptions(ModelEmbedderOptions):
    """`embedder=minilm`."""

    _target_: str = "mlsys.rag.embedder.minilm.MiniLM"
    name: str = "minilm"
    model: str = "minilm"


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
class FaissOptions:
    """`retriever=faiss`."""

    _target_: str = "mlsys.rag.retriever.faiss.Faiss"
    name: str = "faiss"
    metric: str = "cosine"
    index: str = "flat"
    hnsw_m: int = 32
    ef_construction: int = 200
    ef_search: int = 64


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


@dataclass
class ModelGeneratorOptions:
    """`generator=model`."""

    _target_: str = "mlsys.rag.generator.model.ModelGenerator"
    name: str = "model"
    model: str = ""
    dtype: str = "float32"
    max_new_tokens: int = 32
    fixed_length: bool = True
    max_prompt_tokens: int = 1024
    compile: bool = False
    revision: str | None = None
    trust_remote_code: bool = False


@dataclass
class SmolLM2Options(ModelGeneratorOptions):
    """`generator=smollm2`."""

    _target_: str = "mlsys.rag.generator.smollm2.SmolLM2"
    name: str = "smollm2"
    model: str = "smollm2"


@dataclass
class RandomOptions:
    """`generator=random`."""

    _target_: str = "mlsys.rag.generator.random.Random"
    name: str = "random"
    shape: str = "smollm2-135m"
    dtype: str = "float32"
    max_new_tokens: int = 32
    fixed_length: bool = True
    max_prompt_tokens: int = 1024
    compile: bool = False


SCHEMAS = {
    "corpus/animals": AnimalsOptions,
    "corpus/files": FilesOptions,
    "corpus/pydocs": PydocsOptions,
    "embedder/minilm": MiniLMOptions,
    "embedder/model": ModelEmbedderOptions,
    "generator/model": ModelGeneratorOptions,
    "generator/random": RandomOptions,
    "generator/smollm2": SmolLM2Options,
    "embedder/hashing": HashingOptions,
    "retriever/exact": ExactOptions,
    "retriever/faiss": FaissOptions,
    "generator/simulated": SimulatedOptions,
}
