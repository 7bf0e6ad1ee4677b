"""`embedder=model`: any sentence-transformers model, by hub id or folder; pooling and prefixes as it says."""

from __future__ import annotations

import fnmatch
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import UserError
from mlsys.rag import hub, models
from mlsys.rag.embedder.encoder import Encoder, Library
from mlsys.record import Scalar

# Families that were trained with prefixes but do not state them in their sentence-transformers configuration.
E5_INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
BGE = "Represent this sentence for searching relevant passages: "
PREFIXES = (
    ("*e5-*-instruct*", E5_INSTRUCT, ""),
    ("*e5-*", "query: ", "passage: "),
    ("*bge-*-en*", BGE, ""),
)


class ModelEmbedder:
    """`model`: a packaged model (`minilm`), a hub id or a folder. A prefix of None is the model's own.

    Vectors are normalised to euclidean length 1 unless `normalize` is false.
    """

    def __init__(
        self,
        model: str,
        name: str,
        query_prefix: str | None,
        passage_prefix: str | None,
        normalize: bool,
        batch_size: int,
        revision: str | None,
        trust_remote_code: bool,
    ) -> None:
        if not model:
            raise UserError("embedder.model is empty: give a hub id, a folder, or use embedder=minilm")
        if batch_size < 1:
            raise UserError(f"embedder.batch_size={batch_size} must be at least 1")
        self.name, self.model, self.normalize, self.batch_size = name, model, normalize, batch_size
        self.revision, self.trust_remote_code = revision, trust_remote_code
        self._asked = {"query": query_prefix, "document": passage_prefix}
        self._loaded: Encoder
        self._prefixes: dict[str, str] = {}

    def load(self, device: str) -> None:
        """Fetch and load. Raises UserError if the model cannot be had."""
        location = hub.locate("embedder.model", self.model)
        try:
            with models.quiet():
                self._loaded = self._open(location, device)
        except Exception as error:  # of a damaged file the libraries' parsers raise what they like
            raise hub.failure("embedder.model", self.model, location, error) from error
        self._prefixes = {kind: self._prefix(kind) for kind in ("query", "document")}

    def _open(self, location: hub.Location, device: str) -> Encoder:
        from mlsys.rag.embedder import bert

        folder = Path(location.path)
        own = bert.read(folder, device) if folder.is_dir() else None
        return own or Library(location, device, self.revision, self.trust_remote_code)

    def _prefix(self, kind: str) -> str:
        asked = self._asked[kind]
        if asked is not None:
            return asked
        stated = str(self._loaded.prompts.get(kind) or "")
        for pattern, query, document in () if stated else PREFIXES:
            if fnmatch.fnmatch(self.model.lower(), pattern):
                return query if kind == "query" else document
        return stated

    @property
    def identity(self) -> str:
        """The model with its version (a folder: the digest of its weights), prefix and normalisation."""
        prefix = self._prefixes["document"]
        return f"{self.model}\0{self._version()}\0{prefix}\0normalize={self.normalize}"

    def _version(self) -> str:
        if self.model in models.PACKAGED:
            return models.PACKAGED[self.model].sha256
        folder = Path(self.model).expanduser()
        if folder.is_dir():
            running = hashlib.sha256()
            for file in sorted(folder.rglob("*.safetensors")) + sorted(folder.rglob("config*.json")):
                with file.open("rb") as content:
                    running.update(hashlib.file_digest(content, "sha256").digest())
            return running.hexdigest()
        return str(self._loaded.commit or self.revision)

    def passages(self, texts: list[str]) -> NDArray[np.float32]:
        """(N, dim) float32."""
        return self._encode(texts, "document")

    def queries(self, texts: list[str]) -> NDArray[np.float32]:
        """(Q, dim) float32, in batches of `batch_size`."""
        return self._encode(texts, "query")

    def _encode(self, texts: list[str], kind: str) -> NDArray[np.float32]:
        prefix = self._prefixes[kind]
        return self._loaded.encode([prefix + text for text in texts], self.batch_size, self.normalize)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) characters of each of the model's tokens."""
        return self._loaded.spans(text)

    def describe(self) -> dict[str, Scalar]:
        """Model, size and how texts are prepared."""
        return {
            "model": self.model,
            "parameters": self._loaded.parameters,
            "dim": self._loaded.dim,
            "max_tokens": self._loaded.max_tokens,
            "query_prefix": self._prefixes["query"],
            "passage_prefix": self._prefixes["document"],
        }
