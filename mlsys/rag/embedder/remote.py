"""What embedders at an address share: batches that are asked at the same time, and vectors of one length."""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from typing import Any, TypedDict, Unpack

import aiohttp
import numpy as np
from numpy.typing import NDArray

from mlsys import bodies
from mlsys.errors import UserError
from mlsys.rag.embedder.hashing import WORD
from mlsys.rag.upstream import Knobs, Upstream, UpstreamError
from mlsys.record import Scalar

Vectors = NDArray[np.float32]
PROBES = (
    "a small red fox",
    "how to read a file",
    "Sunday",
    "2 + 2 = 4",
    "le chat noir",
    "network",
    "why?",
    "x",
)


class Texts(TypedDict):
    """The knobs of every embedder at an address; `conf/embedder/_remote.yaml` explains them."""

    dim: int | None
    normalize: bool
    batch_size: int
    query_prefix: str
    passage_prefix: str


class RemoteEmbedder(ABC):
    """`check_path`, `usual_path`: as in `Upstream`. Vectors are checked and normalised here, as well."""

    check_path: str
    usual_path = ""

    def __init__(self, name: str, texts: Texts, **knobs: Unpack[Knobs]) -> None:
        for knob in ("dim", "batch_size"):
            if (value := texts[knob]) is not None and value < 1:
                raise UserError(f"embedder.{knob}={value} must be at least 1")
        self.upstream = Upstream("embedder", self.check_path, self.usual_path, **knobs)
        self.name, self._texts, self.batch_size = name, texts, texts["batch_size"]
        self.dim = texts["dim"]
        self._looks = ""

    @abstractmethod
    def _find(self) -> None:
        """Learn what the server has. Raises UserError where it has not what is asked for."""

    @abstractmethod
    def _asked(self, texts: list[str]) -> tuple[str, dict[str, Any]]:
        """Where a batch is sent, and as what."""

    @abstractmethod
    def _told(self, content: Any) -> list[Any]:
        """The vectors in an answer, in the texts' order. Raises ValueError, KeyError or TypeError for what is none."""

    @abstractmethod
    def _served(self) -> dict[str, Scalar]:
        """What the server says of itself: `model` among it."""

    def load(self, device: str) -> None:
        """Wait for the server, look at its vectors. Raises UserError where it is not there, or they are not as said."""
        self.upstream.open()
        self._find()
        wanted, self.dim = self.dim, None
        try:
            vectors = self._embedded(list(PROBES))
        except (UpstreamError, ValueError) as error:
            raise UserError(str(error)) from error
        self.dim = vectors.shape[1]
        if wanted not in (None, self.dim):
            raise UserError(
                f"embedder.dim={wanted}: {self.upstream.name} makes vectors of {self.dim} numbers"
            )
        self._looks = hashlib.sha256(np.abs(vectors).argmax(axis=1).tobytes()).hexdigest()

    @property
    def identity(self) -> str:
        """The server, its model, and what some vectors look like: other weights under the same name look different."""
        served = sorted((name, str(value)) for name, value in self._served().items())
        knobs = (self.upstream.base, self.dim, self._texts["normalize"], self._texts["passage_prefix"])
        return "\0".join(map(str, (self.name, *knobs, self._looks, *served)))

    def passages(self, texts: list[str]) -> Vectors:
        """(N, dim) float32. Raises UpstreamError."""
        return self._embedded([self._texts["passage_prefix"] + text for text in texts])

    def queries(self, texts: list[str]) -> Vectors:
        """(Q, dim) float32. Raises UpstreamError."""
        return self._embedded([self._texts["query_prefix"] + text for text in texts])

    def _embedded(self, texts: list[str]) -> Vectors:
        return self.upstream.run(self._all(texts))

    async def _all(self, texts: list[str]) -> Vectors:
        size = self.batch_size
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        calls = [asyncio.ensure_future(self._one(part)) for part in parts]
        try:
            vectors = np.concatenate(await asyncio.gather(*calls))
        finally:
            for call in calls:
                call.cancel()
        if self._texts["normalize"]:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.where(norms > 0, norms, 1)
        return vectors

    async def _one(self, texts: list[str]) -> Vectors:
        path, body = self._asked(texts)

        async def read(response: aiohttp.ClientResponse) -> Vectors:
            content = bodies.parse(await bodies.read(response))
            try:
                vectors = np.array(self._told(content), np.float32)
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise ValueError(f"no vectors: {type(error).__name__}: {error}") from None
            wanted = (len(texts), self.dim or vectors.shape[-1])
            if vectors.ndim != 2 or vectors.shape != wanted or not vectors.size:
                raise ValueError(f"vectors of shape {vectors.shape} for {len(texts)} texts, not {wanted}")
            if not np.isfinite(vectors).all():
                raise ValueError("vectors with numbers that are not finite")
            return vectors

        return await self.upstream.post(path, body, read)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Words and single signs: the tokenizer is the server's."""
        return [match.span() for match in WORD.finditer(text)]

    def describe(self) -> dict[str, Scalar]:
        """The server and its model, and how texts are prepared."""
        prefixes: dict[str, Scalar] = {knob: self._texts[knob] for knob in ("query_prefix", "passage_prefix")}
        return {**self._served(), "dim": self.dim, **prefixes}
